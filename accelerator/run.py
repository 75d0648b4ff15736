"""What only a machine with an accelerator can settle, most valuable first, within some minutes.

    python accelerator/run.py --minutes 25        (make accelerator MINUTES=25)

Needs a Python with JAX for the device and the packages lra stands on; no network, no TensorFlow, and installs nothing.
Each step has a time of its own and can be interrupted; what has ended is not done again unless the code has changed.
Tables, logs and records are left in accelerator/DEVICE, to be looked at and committed.
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
WORK = ROOT / "build" / "accelerator"  # what is too large to be kept: the package's links, checkpoints, prepared tasks
KEPT = ROOT / "accelerator"
NEEDED = (
    "jax", "flax", "optax", "orbax.checkpoint", "gin", "jaxtyping", "msgspec", "numpy", "PIL", "rich", "scipy",
    "tensorboardX", "pytest", "hypothesis",
)  # fmt: skip
ROOMS = ("tasks", "models", "leaderboard", "gin")  # packages inside lra that lie beside it
TASKS = ("listops", "image", "pathfinder", "text", "retrieval", "pathx")
SEEDS = "0,1,2"
GRACE = 60  # seconds that an interrupted step has to save what it has


class Step(NamedTuple):
    """A command of Python, how many minutes it may take, the folders of sources whose change makes it run again, and
    what is added to the command then.
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
    """Training runs of protocol `paper` that have no record yet, of the tasks that are prepared."""
    yield Step("prepare listops", ["-m", "lra", "prepare", "listops", "--protocol", "paper"], 5)
    known = recorded(ROOT / "leaderboard" / "results") | recorded(out / "records")
    listed = ask(["-m", "lra", "variants", "--json"])
    variants = sorted((entry["name"] for entry in json.loads(listed)), key=lambda name: (name != "transformer", name))
    for task in filter(is_prepared, TASKS):
        for variant in variants:
            if (task, variant) not in known:
                run = ["-m", "lra", "run", "--task", task, "--variant", variant, "--protocol", "paper"]
                yield Step(f"{task} {variant}", [*run, "--seeds", SEEDS, "--results", str(WORK / "results")], 60)


STEPS: tuple[Callable[[Path], Iterator[Step]], ...] = (kernel_tests, benchmarks, cells)  # a later need adds its own


def recorded(folder: Path) -> set[tuple[str, str]]:
    records = [json.loads(path.read_text()) for path in folder.rglob("*.json")] if folder.is_dir() else []
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
    """Of the steps: lra is found through links, made once, so that nothing needs to be installed."""
    package = WORK / "package" / "lra"
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir(parents=True)
    for path in (ROOT / "lra").iterdir():
        (package / path.name).symlink_to(path)
    for room in ROOMS:
        (package / room).symlink_to(ROOT / room)
    paths = [str(package.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    home = os.environ.get("LRA_HOME", str(WORK / "home"))
    # safe: the folder `lra` of the checkout, which has not all of the package, must not come first
    python = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
    return os.environ | python | {"LRA_HOME": home}


def ask(words: list[str]) -> str:
    call = [sys.executable, *words]
    return subprocess.run(call, cwd=ROOT, env=environment(), check=True, capture_output=True, text=True).stdout


def device() -> dict[str, str]:
    """The accelerator that JAX sees, and the versions that matter; exits if there is none."""
    script = (
        "import jax, jaxlib, json, sys; d = jax.devices()[0];"
        "print(json.dumps(dict(platform=d.platform, device=d.device_kind, jax=jax.__version__,"
        "jaxlib=jaxlib.__version__, python=sys.version.split()[0])))"
    )
    found = json.loads(ask(["-c", script]).splitlines()[-1])
    if found["platform"] == "cpu":
        sys.exit("accelerator: JAX sees no GPU or TPU here, only the CPU; is JAX for the device installed?")
    return found


def state_of(sources: tuple[str, ...]) -> str:
    """A hash of the sources that a step depends on."""
    files = sorted(path for folder in sources for path in (ROOT / folder).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def perform(command: list[str], seconds: float, log: Path) -> str:
    """Runs a command: "passed", "failed (code N)" or, after so many seconds, "interrupted"."""
    # a shell that runs this in the background ignores Ctrl-C, and what is ignored is inherited
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=environment(), stdout=file, stderr=subprocess.STDOUT
        )
        try:
            code = process.wait(seconds)
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as reason:
            process.send_signal(signal.SIGINT)  # as Ctrl-C: a run writes its checkpoint
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
    """Copies the records of training runs to the folder that is kept."""
    for path in (WORK / "results").rglob("records/*.json"):
        (out / "records").mkdir(exist_ok=True)
        shutil.copy(path, out / "records" / path.name)


def write(path: Path, text: str) -> None:
    fresh = path.with_suffix(path.suffix + ".new")
    fresh.write_text(text)
    fresh.replace(path)


def report(out: Path, found: dict[str, str], ended: dict[str, dict]) -> None:
    """status.json for the next call, status.md for people."""
    write(out / "status.json", json.dumps(ended, indent=1) + "\n")
    lines = [f"# {found['device']}", "", ", ".join(f"{k} {v}" for k, v in found.items() if k != "device"), ""]
    lines += ["| step | outcome | minutes | date |", "|---|---|---:|---|"]
    lines += [f"| {name} | {e['outcome']} | {e['minutes']:.1f} | {e['date']} |" for name, e in ended.items()]
    write(out / "status.md", "\n".join(lines) + "\n")


def main(minutes: float) -> int:
    deadline = time.monotonic() + 60 * minutes
    missing = [name for name in NEEDED if importlib.util.find_spec(name.split(".")[0]) is None]
    if missing:
        sys.exit(f"accelerator: {sys.executable} lacks {', '.join(missing)}; bring them along as wheels")
    found = device()
    out = KEPT / "".join(c if c.isalnum() else "-" for c in found["device"].lower())
    out.mkdir(parents=True, exist_ok=True)
    write(out / "environment.json", json.dumps(found, indent=1) + "\n")
    status = out / "status.json"
    ended = json.loads(status.read_text()) if status.exists() else {}
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
            report(out, found, ended)
            failed |= outcome.startswith("failed")
            print(f"{step.name}: {outcome} after {took:.1f} minutes, see {log}")
    return int(failed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=25, help="of the whole call (default: %(default)s)")
    sys.exit(main(parser.parse_args().minutes))
