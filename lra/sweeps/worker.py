"""The process of a cell: trains and scores one run, and says in its log and its claim what became of it."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from lra import claims
from lra.errors import UserError
from lra.files import sha256_texts, write_atomically, writing
from lra.spec import RunSpec
from lra.storage import is_remote, path_of
from lra.sweeps.job import Job
from lra.sweeps.process import TAKEN
from lra.tasks.prepared import home


def main() -> NoReturn:
    """Trains the run of the job on standard input; ends the process with an exit code of `process.start`."""
    if cores := os.environ.pop("LRA_CORES", ""):
        os.sched_setaffinity(0, map(int, cores.split(",")))
    job = Job.from_json(sys.stdin.buffer.readline().decode())
    threading.Thread(target=stop_with_parent, daemon=True).start()
    try:
        results = path_of(job.results)
        with log_in(results, job.run):
            claim = claims.take(results, job.run)  # before JAX is imported: most of those that come too late go
            with claims.held(claim):
                train(job, results, claim)
    except UserError as error:
        code = TAKEN if isinstance(error, claims.Taken) else error.exit_code
    else:
        code = 0
    # threads of JAX or of the lifeline must not keep what has ended
    sys.stderr.flush()
    os._exit(code)


def stop_with_parent() -> None:
    """Waits for the end of standard input, which is that of whoever started this process, and asks it to stop."""
    while sys.stdin.buffer.readline():
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def log_of(results: Path, run: str) -> Path:
    """The log of the processes that trained a run."""
    return results / "runs" / f"{run}.log" if is_remote(results) else results / "runs" / run / "log.txt"


@contextlib.contextmanager
def log_in(results: Path, run: str) -> Iterator[None]:
    """Appends what this process prints, its libraries too, to the log of a run. The error that ends it is the last."""
    log = log_of(results, run)
    local = home() / "runs" / log.name if is_remote(log) else log
    with writing(local):
        local.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(local, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    try:
        yield
    except UserError as error:
        print(f"lra: {error}", file=sys.stderr, flush=True)
        raise
    finally:
        if is_remote(log):
            with contextlib.suppress(UserError):
                log.upload(local)


def train(job: Job, results: Path, claim: claims.Claim) -> None:
    """Trains and scores the run of a job.

    Raises:
      UserError: as `resolve` and `execute`; or the job's spec is another run on this machine.
    """
    from lra.execution import execute
    from lra.interrupt import interruptible
    from lra.plan import resolve
    from lra.progress import Display
    from lra.tasks.prepared import load
    from lra.trainer import work_beside_steps

    with Display() as display, interruptible(display.say) as stop:
        plan = resolve(provided(job))
        data = load(plan.task, plan.source, plan.prepare_command)
        if (here := plan.run_id(data.data_sha256)) != job.run:
            raise UserError(
                f"the cell is run {job.run} where it was submitted and run {here} here: another lra, another "
                "variant's file or other data; make both the same "
                f"(here: lra at {Path(__file__).parents[1]}, data in {data.folder})"
            )
        with display.bar(plan.variant.name, plan.train.steps, work_beside_steps(plan, data)) as bar:
            execute(
                plan, data, results, bar=bar, stop=stop, checkpoint_every=job.checkpoint_every,
                kernels=job.kernels, claim=claim,
            )  # fmt: skip


def provided(job: Job) -> RunSpec:
    """The spec of a job. It imports the sources that travelled with the job if this machine has other files or none."""
    import dataclasses

    from lra import extension
    from lra.models.attention import VARIANTS

    if not job.sources:
        return job.spec
    try:
        extension.load_all(map(Path, job.spec.imports))
        if VARIANTS[job.spec.variant].source_sha256 == sha256_texts(job.sources):
            return job.spec
    except (UserError, KeyError):
        pass  # the files are not here
    tree = home() / "sources" / f"{sha256_texts(job.sources)[:12]}"
    for name, text in job.sources.items():
        write_atomically(tree / name, text.encode())
    for other in [other for other in VARIANTS.values() if not other.is_own]:
        del VARIANTS[other.name]
    return dataclasses.replace(job.spec, imports=(str(tree / next(iter(job.sources))),))


if __name__ == "__main__":
    main()
