"""The executor of SLURM: cells are the tasks of job arrays. SLURM submits those again that it preempts."""

import contextlib
import dataclasses
import pickle
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lra.errors import UsageError, UserError, printable
from lra.interrupt import STOPPED
from lra.storage import is_remote, path_of
from lra.sweeps import process
from lra.sweeps.executor import Ended, Lost, Running, State, Waiting
from lra.sweeps.job import Job
from lra.tasks.prepared import home

if TYPE_CHECKING:
    from submitit import Job as Submitted

WAITS = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT", "SUSPENDED", "STOPPED"}
RUNS = {"RUNNING", "CONFIGURING", "COMPLETING", "RESIZING", "SIGNALING", "STAGE_OUT"}
MOST_NAMED = 500  # jobs in a command
NOTICE = 90  # seconds before its time is over in which a job stops at a checkpoint; less if its time is short
PATIENCE = 30.0  # seconds until the result of a job that has ended is seen on all machines of a shared file system
LOOK = 2.0  # seconds between two questions to SLURM, which other users ask too
ANSWER = 30  # seconds that SLURM has to answer


@dataclasses.dataclass(frozen=True)
class Slurm:
    """Runs cells as tasks of SLURM's job arrays. They need this environment of Python on every node, and this folder.

    Attributes:
      partition, account, qos: as for `sbatch`; None for the cluster's default.
      minutes: the time limit of a cell. What needs longer stops at a checkpoint and is submitted again.
      gpus, cpus: GPUs and cores of a cell.
      memory_gb: the host's memory of a cell; None for the cluster's default.
    """

    partition: str | None = None
    minutes: int = 600
    gpus: int = 0
    cpus: int = 1
    memory_gb: float | None = None
    account: str | None = None
    qos: str | None = None

    def session(self, jobs_at_once: int | None) -> "SlurmSession":
        """Begins to work; arguments and errors as for `Executor`."""
        least = {"minutes": 1, "cpus": 1, "gpus": 0}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise UsageError(f"{name}={getattr(self, name)} is not at least {value}")
        if not shutil.which("sbatch"):
            raise UserError("there is no SLURM here: sbatch is not on the PATH; sweep from a login node of the cluster")
        try:
            import submitit  # noqa: F401
        except ImportError as error:
            raise UserError("SLURM needs submitit: pip install 'long-range-arena[slurm]'") from error
        offers = answer(["sinfo", "--noheader", "--format=%R (%D x %c cores, GPUs: %G, time: %l)"])
        offers = ", ".join(offers.replace("(null)", "none").splitlines())
        try:
            answer(["sbatch", "--test-only", *self.flags(), "--wrap=true"])
        except UserError as error:
            raise UserError(f"{error}; the partitions are {offers}") from error
        return SlurmSession(self, jobs_at_once)

    def parameters(self) -> dict[str, Any]:
        """The options in submitit's words."""
        of_slurm = {"partition": self.partition, "account": self.account, "qos": self.qos}
        needs = {"gpus_per_node": self.gpus or None, "mem_gb": self.memory_gb}
        return {
            "timeout_min": self.minutes,
            "cpus_per_task": self.cpus,
            **{name: value for name, value in (of_slurm | needs).items() if value is not None},
        }

    def flags(self) -> list[str]:
        """The options in sbatch's words."""
        words = {"timeout_min": "time", "mem_gb": "mem"}
        return [
            f"--{words.get(name, name).replace('_', '-')}={f'{1024 * value:.0f}M' if name == 'mem_gb' else value}"
            for name, value in self.parameters().items()
        ]


def reason(text: str) -> str:
    """What a command of SLURM says of its failure, in a line."""
    lines = [re.sub(r"^(\w+: )?(error: )?", "", line.strip()) for line in text.splitlines() if line.strip()]
    return printable(": ".join(dict.fromkeys(lines)))[:300] or "it fails without a reason"


def answer(command: Sequence[str]) -> str:
    """What a command of SLURM prints.

    Raises:
      UserError: it fails.
    """
    try:
        asked = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=ANSWER)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"SLURM does not answer {command[0]} within {ANSWER} seconds") from error
    if asked.returncode:
        raise UserError(f"SLURM refuses {command[0]}: {reason(asked.stderr)}")
    return asked.stdout.strip()


def run(text: str, start: Callable[[Job], "subprocess.Popen[bytes]"]) -> int:
    """Runs a job on a node; returns the exit code of its process.

    SLURM sends SIGTERM to all processes of a step, so to the one of the job, too, which stops at a checkpoint. This one
    waits for it. A second signal from here would end it at once.
    """
    import submitit

    submitit.JobEnvironment().paths.result_pickle.unlink(missing_ok=True)  # of this job before it was preempted
    signal.signal(signal.SIGTERM, lambda *_: None)
    started = start(Job.from_json(text))
    code = started.wait()
    if started.stdin:
        started.stdin.close()
    return code


class SlurmSession:
    """Jobs of SLURM; attributes and methods as for `Session`."""

    start = staticmethod(process.start)

    def __init__(self, options: Slurm, jobs_at_once: int | None):
        self.options, self.slots = options, jobs_at_once
        self.hardware: Mapping[str, Any] | None = None  # nodes may differ
        most = re.search(r"MaxArraySize\s*=\s*(\d+)", answer(["scontrol", "show", "config"]))
        self.longest = max(1, int(most[1]) if most else 1001)  # tasks of an array
        self.jobs: dict[str, Submitted[int]] = {}
        self.states: dict[str, State] = {}
        self.gone: dict[str, float] = {}  # when a job without a result was first seen to have ended
        self.cancelled: set[str] = set()
        self.looked = float("-inf")

    def submit(self, jobs: Sequence[Job]) -> list[str]:
        names: list[str] = []
        for begin in range(0, len(jobs), self.longest):
            names += self.submit_array(jobs[begin : begin + self.longest])
        return names

    def submit_array(self, jobs: Sequence[Job]) -> list[str]:
        """Submits jobs as one array."""
        import submitit
        from submitit.core.utils import FailedSubmissionError

        results = path_of(jobs[0].results)
        folder = (home() if is_remote(results) else results) / "slurm"
        executor = submitit.SlurmExecutor(folder, max_num_timeout=0)
        # submitit would send SIGUSR2, which ends the process of a job
        forced = {"signal": f"TERM@{min(NOTICE, 15 * self.options.minutes)}", "requeue": True}
        executor.update_parameters(
            **executor._convert_parameters(self.options.parameters()),
            job_name="lra",
            array_parallelism=len(jobs),
            additional_parameters=forced,
            srun_args=[f"--cpus-per-task={self.options.cpus}"],  # newer ones do not take it from the job
        )
        try:
            submitted = executor.map_array(run, [job.to_json() for job in jobs], [self.start] * len(jobs))
        except FailedSubmissionError as error:
            raise UserError(f"SLURM refuses the jobs: {reason(str(error))}") from error
        self.jobs |= {job.job_id: job for job in submitted}
        self.states |= {job.job_id: Waiting() for job in submitted}
        return [job.job_id for job in submitted]

    def ask(self, names: Sequence[str]) -> dict[str, State]:
        if time.monotonic() - self.looked >= LOOK:
            self.look()
        return {name: self.states[name] for name in names}

    def look(self) -> None:
        """Asks SLURM for all jobs that have not ended."""
        if not (open_ones := [name for name, state in self.states.items() if isinstance(state, Waiting | Running)]):
            return
        self.looked = time.monotonic()
        try:
            lines = answer(["squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i|%T|%N|%r"])
        except UserError:  # SLURM is being restarted, or has too much to do; the jobs go on
            return
        there = {name: rest for name, _, rest in (line.partition("|") for line in lines.splitlines())}
        for name in open_ones:
            word, where, why = there.get(name, "||").split("|", 2)
            self.states[name] = self.state_of(name, word, where, why)

    def state_of(self, name: str, word: str, where: str, why: str) -> State:
        """The state of a job.

        Args:
          word: SLURM's word; empty if it has forgotten the job.
          where: the job's node.
          why: SLURM's reason.
        """
        if word in WAITS:
            if name in self.cancelled:  # it was preempted meanwhile
                self.cancel([name])
            return Waiting(why)
        if word in RUNS:
            return Running(where)
        if word == "OUT_OF_MEMORY":
            return Ended(-signal.SIGKILL)
        code = result_of(self.jobs[name].paths.result_pickle)
        by_user = name in self.cancelled or word == "CANCELLED"
        if code == STOPPED and not by_user:
            return Lost(f"SLURM stopped job {name}, which was preempted or had no time left")
        if code is not None:
            return Ended(code)
        if by_user:
            return Ended(STOPPED)
        since = self.gone.setdefault(name, time.monotonic())
        if word in ("COMPLETED", "FAILED", "") and time.monotonic() - since < PATIENCE:
            return Running(where)
        said = last_line(self.jobs[name].paths.stderr)
        became = word.lower() or "SLURM has forgotten it"
        return Lost(f"job {name} ended without a result ({became}){said and f': {said}'}")

    def cancel(self, names: Sequence[str]) -> None:
        self.cancelled |= {*names}
        for begin in range(0, len(names), MOST_NAMED):
            with contextlib.suppress(UserError):  # some of them have ended; of the others, ask() tells
                answer(["scancel", "--quiet", *names[begin : begin + MOST_NAMED]])

    def close(self) -> None:
        self.cancel([name for name, state in self.states.items() if isinstance(state, Waiting | Running)])


def result_of(path: Path) -> int | None:
    """The exit code that a job left; None if there is none."""
    try:
        outcome, result = pickle.loads(path.read_bytes())
    except (OSError, EOFError, pickle.UnpicklingError):
        return None
    return result if outcome == "success" else None


def last_line(path: Path) -> str:
    """The last line of a file; empty if there is none."""
    try:
        lines = [line.strip() for line in path.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    return printable(lines[-1])[:200] if lines else ""
