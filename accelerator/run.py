"""Runs the tests, benchmarks and training runs that need a GPU or TPU, the most valuable first, in limited time.

    python accelerator/run.py --minutes 25        (make accelerator MINUTES=25)

The script needs a Python that has JAX for the device and the packages that lra requires. It needs no network and no
TensorFlow, and installs nothing. Each step has its own time limit and can be interrupted. A step that has ended is not
repeated unless its code has changed. Tables, logs and records are written to accelerator/DEVICE, to be committed.
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
    "tensorboardX", "pytest", "hypothesis",
)  # fmt: skip
ROOMS = ("tasks", "models", "leaderboard", "gin")  # packages inside lra whose folders are beside it
TASKS = ("listops", "image", "pathfinder", "text", "retrieval", "pathx")
SEEDS = "0,1,2"
GRACE = 60  # seconds in which an interrupted step may save its progress


class Step(NamedTuple):
    """A command of Python.

    Attributes:
      minutes: the time limit.
      sources: folders; a change of their code makes the step run again.
      anew: arguments that are added to the command if the code has changed.
    """

    name: str
    command: list[str]
    minutes: float
    sources: tuple[str, ...] = ()
    anew: tuple[str, ...] = ()


def kernel_tests(out: Path) -> Iterator[Step]:
    for family in ("softmax", "linear_attention", "recurrence"):
        tests = [
            "-m",
            "pytest",
            "-q",
            "-m",
            "not compilers",
            f"tests/models/kernels/{family}",
            "-p",
            "no:cacheprovider",
        ]
        yield Step(f"tests of {family}", tests, 4, ("models/kernels", "tests/models/kernels"))


def benchmarks(out: Path) -> Iterator[Step]:
    for what, minutes in (("kernels", 8), ("variants", 6)):
        command = ["-m", "lra", "bench", what, "--minutes", str(minutes - 1), "--results", str(out)]
        yield Step(f"bench {what}", command, minutes, ("models", "lra/bench"), ("--again",))


def cells(out: Path) -> Iterator[Step]:
    """The training runs of protocol `paper` on prepared tasks that have no record yet."""
    yield Step("prepare listops", ["-m", "lra", "prepare", "listops", "--protocol", "paper"], 5)
    known = recorded(ROOT / "leaderboard" / "results") | recorded(out / "records")
    listed = ask(["-m", "lra", "variants", "--json"])
    variants = sorted((entry["name"] for entry in json.loads(listed)), key=lambda name: (name != "transformer", name))
    for task in filter(is_prepared, TASKS):
        for variant in variants:
            if (task, variant) not in known:
                run = ["-m", "lra", "run", "--task", task, "--variant", variant, "--protocol", "paper"]
                yield Step(f"{task} {variant}", [*run, "--seeds", SEEDS, "--results", str(WORK / "results")], 60)


STEPS: tuple[Callable[[Path], Iterator[Step]], ...] = (kernel_tests, benchmarks, cells)


def recorded(folder: Path) -> set[tuple[str, str]]:
    """Task and variant of each record of protocol `paper` in a folder."""
    records = [json.loads(path.read_bytes()) for path in folder.rglob("[!.]*.json")] if folder.is_dir() else []
    return {(r["task"]["name"], r["variant"]["name"]) for r in records if r["protocol"]["name"] == "paper"}


def is_prepared(task: str) -> bool:
    show = ["-m", "lra", "show", task, "--protocol", "paper", "--count", "1"]
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


def ask(words: list[str]) -> str:
    """The standard output of a command of Python."""
    call = [sys.executable, *words]
    return subprocess.run(call, cwd=ROOT, env=environment(), check=True, capture_output=True, encoding="utf-8").stdout


def device() -> dict[str, str]:
    """The accelerator that JAX sees, with versions. Exits if there is none."""
    script = (
        "import jax, jaxlib, json, sys; d = jax.devices()[0];"
        "print(json.dumps(dict(platform=d.platform, device=d.device_kind, jax=jax.__version__,"
        "jaxlib=jaxlib.__version__, python=sys.version.split()[0])))"
    )
    facts = json.loads(ask(["-c", script]).splitlines()[-1])
    if facts["platform"] == "cpu":
        sys.exit("accelerator: JAX sees no GPU or TPU here, only the CPU; is JAX for the device installed?")
    return facts


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
            return "interrupted"
    return "passed" if code == 0 else f"failed (code {code})"


def collect(out: Path) -> None:
    """Copies the records of training runs to the folder that is committed."""
    for path in (WORK / "results").rglob("records/[!.]*.json"):
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


def main(minutes: float) -> int:
    deadline = time.monotonic() + 60 * minutes
    missing = [name for name in NEEDED if importlib.util.find_spec(name.split(".")[0]) is None]
    if missing:
        sys.exit(f"accelerator: {sys.executable} lacks {', '.join(missing)}; bring them along as wheels")
    facts = device()
    out = KEPT / "".join(c if c.isalnum() else "-" for c in facts["device"].lower())
    out.mkdir(parents=True, exist_ok=True)
    write(out / "environment.json", json.dumps(facts, indent=1) + "\n")
    status = out / "status.json"
    ended = json.loads(status.read_bytes()) if status.exists() else {}
    failed = False
    for steps in STEPS:
        for step in steps(out):
            state, before = state_of(step.sources), ended.get(step.name, {})
            if before.get("state") == state and before.get("outcome") != "interrupted":
                print(f"{step.name}: {before['outcome']} before, on {before['date']}")
                continue
            left = deadline - time.monotonic() - GRACE
            if left < 30:
                print(f"{step.name}: no time left; the same command goes on here")
                return int(failed)
            print(f"{step.name}: ...", flush=True)
            start = time.monotonic()
            log = out / f"{step.name.replace(' ', '-')}.log"
            changed = before.get("state", state) != state
            command = [*step.command, *(step.anew if changed else ())]
            outcome = perform(command, min(60 * step.minutes, left), log)
            took = (time.monotonic() - start) / 60
            ended[step.name] = dict(outcome=outcome, minutes=took, date=time.strftime("%Y-%m-%d"), state=state)
            collect(out)
            report(out, facts, ended)
            failed |= outcome.startswith("failed")
            print(f"{step.name}: {outcome} after {took:.1f} minutes, see {log}")
    return int(failed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=25, help="of the whole call (default: %(default)s)")
    sys.exit(main(parser.parse_args().minutes))
