"""Runs what needs a GPU or TPU, the most valuable first, in limited time.

    python accelerator/run.py --minutes 12        (make accelerator MINUTES=12)

1. Proves the kernels at the shapes of protocol `paper`. 2. Times the kernels. 3. Times the variants at 1K to 4K tokens.
4. Trains what has no record in protocol `paper`, the shortest runs first: one `lra sweep`.

The script needs a Python that has JAX for the device and the packages that lra requires. It needs no network and no
TensorFlow, and installs nothing. Each step has its share of the time, writes each result when it has it, and can be
interrupted. The next call goes on where this one ends; what is complete is not repeated unless its code has changed.
Tables, logs and records are written to accelerator/DEVICE, to be committed.

With --cpu (ACCELERATOR=cpu make accelerator) all of it is rehearsed on the CPU, with smaller sizes, in
build/accelerator/cpu.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "accelerator"  # links of the package, checkpoints and prepared tasks, which are not committed
KEPT = ROOT / "accelerator"
NEEDED = (
    "jax", "flax", "optax", "orbax.checkpoint", "gin", "jaxtyping", "msgspec", "numpy", "PIL", "rich", "scipy",
    "tensorboardX",
)  # fmt: skip
ROOMS = ("tasks", "models", "leaderboard", "gin")  # packages inside lra whose folders are beside it
SEEDS = "0,1,2"
FIRST = ("transformer", "local", "retention", "s5", "hgrn2")  # variants that use each op, so that each is proven early
GRACE = 30  # seconds in which an interrupted step may save its progress
OVERTIME = 30  # seconds that a step which limits itself may take longer
INTERRUPTED, UNFINISHED = "interrupted", "goes on"  # outcomes after which the next call goes on with a step


class Sizes(NamedTuple):
    """What the steps compute.

    Attributes:
      protocol: of the proof and of the training runs.
      tasks: those of the training runs, as far as they are prepared.
      kernels, variants: further arguments of the benchmarks.
      proof: further arguments of the proof.
    """

    protocol: str
    tasks: tuple[str, ...]
    kernels: tuple[str, ...]
    variants: tuple[str, ...]
    proof: tuple[str, ...]


PAPER = Sizes(
    "paper", ("listops", "image", "pathfinder", "text", "retrieval", "pathx"),
    kernels=(), variants=("--lengths", "1024,2048,3072,4096"), proof=(),
)  # fmt: skip
SMALL = Sizes(
    "demo", ("listops",),
    kernels=("--lengths", "256,512"), variants=("--lengths", "256,512"), proof=("--task", "listops"),
)  # fmt: skip


class Step(NamedTuple):
    """A command of Python.

    Attributes:
      share: the part of all minutes that it may take; None is all that is left.
      limits_itself: whether it takes --minutes and goes on where it ended when it is called again. Otherwise it goes on
        if it was interrupted.
      sources: folders; a change of their code makes the step run again.
      anew: arguments that are added to the command if the code has changed.
    """

    name: str
    command: list[str]
    share: float | None = None
    limits_itself: bool = False
    sources: tuple[str, ...] = ()
    anew: tuple[str, ...] = ()


def proof(out: Path, sizes: Sizes) -> Iterator[Step]:
    """Most kernels for Hopper are of bfloat16; the runs of `paper` are in float32."""
    names = {entry["name"] for entry in json.loads(ask(["-m", "lra", "variants", "--json"]))}
    variants = ",".join((*FIRST, *sorted(names - {*FIRST})))
    prove = ["-m", "lra", "kernels", "--prove", "--protocol", sizes.protocol, "--seeds", SEEDS, "--variant", variants]
    for dtype, share in (("bfloat16", 2 / 12), ("float32", 1 / 12)):
        own = ["--gin", f"train.compute_type = '{dtype}'", "--results", str(out / dtype)]
        yield Step(f"proof in {dtype}", [*prove, *sizes.proof, *own], share, True, ("models/kernels", "lra/proof"))


def benchmarks(out: Path, sizes: Sizes) -> Iterator[Step]:
    for what, share, more in (("kernels", 2 / 12, sizes.kernels), ("variants", 4 / 12, sizes.variants)):
        command = ["-m", "lra", "bench", what, "--results", str(out), *more]
        yield Step(f"bench {what}", command, share, True, ("models", "lra/bench"), ("--again",))


def cells(out: Path, sizes: Sizes) -> Iterator[Step]:
    """A sweep of all cells on prepared tasks. It trains what has no record, the shortest first."""
    yield Step("prepare listops", ["-m", "lra", "prepare", "listops", "--protocol", sizes.protocol])
    bring(out, sizes.protocol)
    tasks = [task for task in sizes.tasks if is_prepared(task, sizes.protocol)]
    sweep = ["-m", "lra", "sweep", "--tasks", ",".join(tasks), "--protocols", sizes.protocol, "--seeds", SEEDS]
    if tasks:
        yield Step(f"sweep {' '.join(tasks)}", [*sweep, "--results", str(out_of_runs(out))], limits_itself=True)


STEPS: tuple[Callable[[Path, Sizes], Iterator[Step]], ...] = (proof, benchmarks, cells)


def out_of_runs(out: Path) -> Path:
    """Where the runs of a device write checkpoints and records, of which only the records are kept."""
    return WORK / "results" / out.name


def bring(out: Path, protocol: str) -> None:
    """Copies the records of a protocol that earlier calls left, here or on another machine, to where the sweep looks.

    The rehearsal brings none of the project's, which has all records of its runs.
    """
    folders = [out / "records", *([ROOT / "leaderboard" / "results"] if out.parent == KEPT else [])]
    there = out_of_runs(out) / "records"
    there.mkdir(parents=True, exist_ok=True)
    for path in (path for folder in folders for path in folder.rglob("[!.]*.json")):
        if json.loads(path.read_bytes()).get("protocol", {}).get("name") == protocol:  # benchmarks lie among them
            shutil.copy(path, there / path.name)


def is_prepared(task: str, protocol: str) -> bool:
    show = ["-m", "lra", "show", task, "--protocol", protocol, "--count", "1"]
    return (
        subprocess.run(
            [sys.executable, *show], cwd=ROOT, env=environment(), capture_output=True, check=False
        ).returncode
        == 0
    )


@cache
def environment() -> dict[str, str]:
    """The environment variables of the steps. Links make lra importable, so that nothing needs to be installed."""
    package = WORK / "package" / "lra"
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir(parents=True)
    for path in (ROOT / "lra").iterdir():
        (package / path.name).symlink_to(path)
    for room in ROOMS:
        (package / room).symlink_to(ROOT / room)
    paths = [str(package.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    home = os.environ.get("LRA_HOME", str(WORK / "home"))
    # PYTHONSAFEPATH: the checkout's folder `lra`, which lacks the packages inside, must not be imported
    python = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
    return os.environ | python | {"LRA_HOME": home}


def ask(words: list[str], **variables: str) -> str:
    """The standard output of a command of Python."""
    call, env = [sys.executable, *words], environment() | variables
    return subprocess.run(call, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout


def device() -> dict[str, str]:
    """The device that JAX sees, with versions."""
    script = (
        "import jax, jaxlib, json, sys; d = jax.devices()[0];"
        "print(json.dumps(dict(platform=d.platform, device=d.device_kind, jax=jax.__version__,"
        "jaxlib=jaxlib.__version__, python=sys.version.split()[0])))"
    )
    return json.loads(ask(["-c", script]).splitlines()[-1])


def state_of(sources: tuple[str, ...]) -> str:
    """A hash of the sources that a step depends on."""
    files = sorted(path for folder in sources for path in (ROOT / folder).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def perform(command: list[str], seconds: float, log: Path) -> str:
    """Runs a command. Returns "passed", "failed (code N)", or "interrupted" if it takes longer than `seconds`."""
    # a shell starts background jobs with Ctrl-C ignored, and the command would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=environment(), stdout=file, stderr=subprocess.STDOUT
        )
        try:
            code = process.wait(seconds)
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as reason:
            process.send_signal(signal.SIGINT)  # like Ctrl-C, so that a run writes its checkpoint
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if isinstance(reason, KeyboardInterrupt):
                raise
            return INTERRUPTED
    return "passed" if code == 0 else f"failed (code {code})"


def collect(out: Path) -> None:
    """Copies the records of training runs to the folder that is committed."""
    for path in out_of_runs(out).rglob("records/[!.]*.json"):
        (out / "records").mkdir(exist_ok=True)
        shutil.copy(path, out / "records" / path.name)


def write(path: Path, text: str) -> None:
    """Writes a file atomically."""
    fresh = path.with_suffix(path.suffix + ".new")
    fresh.write_text(text, "utf-8")
    fresh.replace(path)


def report(out: Path, facts: dict[str, str], ended: dict[str, dict]) -> None:
    """Writes status.json for the next call and status.md for people."""
    write(out / "status.json", json.dumps(ended, indent=1) + "\n")
    lines = [f"# {facts['device']}", "", ", ".join(f"{k} {v}" for k, v in facts.items() if k != "device"), ""]
    lines += ["| step | outcome | minutes | date |", "|---|---|---:|---|"]
    lines += [f"| {name} | {e['outcome']} | {e['minutes']:.1f} | {e['date']} |" for name, e in ended.items()]
    write(out / "status.md", "\n".join(lines) + "\n")


def log_of(step: Step, out: Path) -> Path:
    return out / f"{step.name.replace(' ', '-')}.log"


def do(step: Step, out: Path, minutes: float, left: float, changed: bool) -> tuple[str, float]:
    """Runs a step. Returns how it ended, and the minutes that it took.

    Args:
      minutes: of the whole call.
      left: seconds.
      changed: whether its code has changed since it ran before.
    """
    most = left if step.share is None else min(60 * step.share * minutes, left)
    command = [*step.command, *(step.anew if changed else ())]
    if step.limits_itself:
        command += ["--minutes", f"{most / 60:.3f}"]
    start = time.monotonic()
    late = OVERTIME if step.limits_itself else 0  # a measurement that has begun in time may end after it
    outcome = perform(command, min(most + late, left), log_of(step, out))
    took = time.monotonic() - start
    if outcome == "passed" and step.limits_itself and took > most:
        outcome = UNFINISHED
    return outcome, took / 60


def main(minutes: float, rehearsal: bool = False) -> int:
    deadline = time.monotonic() + 60 * minutes
    missing = [name for name in NEEDED if importlib.util.find_spec(name.split(".")[0]) is None]
    if missing:
        sys.exit(f"accelerator: {sys.executable} lacks {', '.join(missing)}; bring them along as wheels")
    if rehearsal:
        os.environ["JAX_PLATFORMS"] = "cpu"
    facts, sizes = device(), SMALL if rehearsal else PAPER
    if facts["platform"] == "cpu" and not rehearsal:
        sys.exit(
            "accelerator: JAX sees no GPU or TPU here, only the CPU; install JAX for the device, or rehearse with --cpu"
        )
    out = (WORK if rehearsal else KEPT) / "".join(c if c.isalnum() else "-" for c in facts["device"].lower())
    out.mkdir(parents=True, exist_ok=True)
    write(out / "environment.json", json.dumps(facts, indent=1) + "\n")
    status = out / "status.json"
    ended = json.loads(status.read_bytes()) if status.exists() else {}
    failed = False
    for steps in STEPS:
        for step in steps(out, sizes):
            state, before = state_of(step.sources), ended.get(step.name, {})
            if before.get("state") == state and before.get("outcome") not in (INTERRUPTED, UNFINISHED):
                print(f"{step.name}: {before['outcome']} before, on {before['date']}")
                continue
            left = deadline - time.monotonic() - GRACE
            if left < GRACE:
                print(f"{step.name}: no time left; the same command goes on here")
                return int(failed)
            print(f"{step.name}: ...", flush=True)
            outcome, took = do(step, out, minutes, left, changed=before.get("state", state) != state)
            ended[step.name] = dict(outcome=outcome, minutes=took, date=time.strftime("%Y-%m-%d"), state=state)
            collect(out)
            report(out, facts, ended)
            failed |= outcome.startswith("failed")
            print(f"{step.name}: {outcome} after {took:.1f} minutes, see {log_of(step, out)}", flush=True)
    print("all steps have been run; those that go on do so in the next call")
    return int(failed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=12, help="of the whole call (default: %(default)s)")
    parser.add_argument("--cpu", action="store_true", help="rehearse on the CPU, with smaller sizes")
    options = parser.parse_args()
    sys.exit(main(options.minutes, options.cpu))
