"""Claims: which process trains a run. No two processes train one run, also on machines that share a results folder.

A claim is a file RESULTS/claims/RUN.N.json, N = 1, 2, ...; of several the one with the highest N counts. Whoever wants
a run creates the next number, which succeeds for one process alone. The holder rewrites its file every few seconds with
a growing beat. It deletes the file when there is a record, and otherwise leaves in it why it stopped.

A claim of this machine is dead when its process is. A claim of another machine is dead when its beat has not grown for
PATIENCE, by the clock of the process that looks: the clocks of two machines are never compared. `flock` is not used,
since file systems that machines share may not have it.
"""

import contextlib
import dataclasses
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from lra.errors import UserError
from lra.files import create, visible, write_atomically

BEAT = 5.0  # seconds between two beats
PATIENCE = 60.0  # seconds without a beat after which a claim of another machine is dead
RUNNING, STOPPED, FAILED = "running", "stopped", "failed"


class Taken(UserError):
    """Another process trains the run."""


@dataclasses.dataclass(frozen=True)
class Said:
    """What the file of a claim says.

    Attributes:
      id: tells a claim from all others.
      beat: how often the holder has written the file.
      host: the name of its machine.
      machine: tells its machine, since its last start, from others; on it, `process` and `began` tell the process.
      state: "running", or why it was given back: "stopped" or "failed".
      reason: of the last in words.
      step, steps: the train steps done, and those of the run.
      left: the seconds that the run will still take; None if they are not known.
      note: what it is doing, or its last loss, in words.
    """

    id: str
    beat: int
    host: str
    machine: str
    process: int
    began: str
    state: str = RUNNING
    reason: str = ""
    step: int = 0
    steps: int = 0
    left: float | None = None
    note: str = ""

    @property
    def where(self) -> str:
        return f"process {self.process} on {self.host}"


def folder_of(results: Path) -> Path:
    """The folder of the claims in a results folder."""
    return results / "claims"


def look(results: Path) -> dict[str, tuple[int, Said]]:
    """The claim that counts, with its number, of each run that has one."""
    numbers: dict[str, int] = {}
    folder = folder_of(results)
    for path in visible(folder.glob("*.json")) if folder.is_dir() else ():
        run, _, number = path.stem.rpartition(".")
        if number.isdigit():
            numbers[run] = max(int(number), numbers.get(run, 0))
    found = {run: (number, read(file_of(results, run, number))) for run, number in numbers.items()}
    return {run: (number, said) for run, (number, said) in found.items() if said}


def look_at(results: Path, run: str) -> tuple[int, Said | None]:
    """The claim of a run that counts: its number, 0 if there is none, and what it says, None if it cannot be read."""
    names = (path.stem.rpartition(".")[2] for path in folder_of(results).glob(f"{run}.*.json"))
    number = max((int(name) for name in names if name.isdigit()), default=0)
    return number, read(file_of(results, run, number)) if number else None


def file_of(results: Path, run: str, number: int) -> Path:
    return folder_of(results) / f"{run}.{number}.json"


def read(path: Path) -> Said | None:
    """What a claim says; None if it is gone, or not one that this version of lra wrote."""
    try:
        return Said(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


class Observer:
    """Tells living claims from dead ones, by what it has seen of them."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self.patience = patience
        self.seen: dict[str, tuple[int, float]] = {}  # by id: the last beat, and when it was new here

    def lives(self, said: Said) -> bool:
        """Whether the holder of a claim may still train. It is called again and again."""
        if said.state != RUNNING:
            return False
        if said.machine == this_machine():
            return began(said.process) == said.began
        beat, when = self.seen.get(said.id, (-1, 0.0))
        if beat != said.beat:
            self.seen[said.id] = said.beat, (when := time.monotonic())
        return time.monotonic() - when < self.patience

    def has_beaten(self, said: Said, since: int) -> bool:
        """Whether a claim is certainly alive: of this machine, or with a new beat since another one."""
        return said.machine == this_machine() or said.beat > since


class Claim:
    """The claim of a run that this process holds. A thread keeps it alive.

    Attributes:
      report: what the run has reached, as values for `step`, `steps`, `left` and `note`.
      lost: is called once if another process has taken the run over, which only one that seemed dead suffers.
    """

    def __init__(self, results: Path, run: str, number: int, said: Said):
        self.results, self.run, self.number, self.said = results, run, number, said
        self.report: Callable[[], dict[str, Any]] = dict
        self.lost: Callable[[], None] = lambda: None
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.thread = threading.Thread(target=self.keep, daemon=True, name="claim")
        self.thread.start()

    def keep(self) -> None:
        while not self.ended.wait(BEAT):
            # a storage that fails for a moment is no reason to end a run
            with contextlib.suppress(UserError):
                if not self.is_mine():
                    self.lost()
                    return
                with self.lock:
                    if not self.ended.is_set():
                        self.write(**self.report())

    def write(self, **changes: Any) -> None:
        self.said = dataclasses.replace(self.said, beat=self.said.beat + 1, **changes)
        path = file_of(self.results, self.run, self.number)
        write_atomically(path, json.dumps(dataclasses.asdict(self.said)), durable=False)

    def is_mine(self) -> bool:
        """Whether no other process has taken the run over."""
        number, said = look_at(self.results, self.run)
        return number == self.number and (said is None or said.id == self.said.id)

    def require(self) -> None:
        """Raises Taken if another process has taken the run over."""
        if not self.is_mine():
            _, said = look_at(self.results, self.run)
            raise Taken(f"run {self.run} was taken over by {said.where if said else 'another process'}, as if dead")

    def end(self, state: str, reason: str = "") -> None:
        """Gives the run back: what the file says then is why."""
        self.ended.set()
        with self.lock:
            if self.is_mine():
                self.write(**(self.report() | {"state": state, "reason": reason[:500], "left": None}))

    def drop(self) -> None:
        """Deletes the claim, since there is a record."""
        self.ended.set()
        with self.lock:
            if self.is_mine():
                remove_up_to(self.results, self.run, self.number)


def take(results: Path, run: str, say: Callable[[str], None] = lambda text: None, patience: float = PATIENCE) -> Claim:
    """Claims a run. Of a claim of another machine it may wait to see whether it lives.

    Raises:
      Taken: another process trains the run.
      UserError: the claim cannot be written.
    """
    observer, since, told = Observer(patience), -1, False
    while True:
        number, there = look_at(results, run)
        if there and observer.lives(there):
            since = there.beat if since < 0 else since
            if observer.has_beaten(there, since):
                raise Taken(f"run {run} is being trained by {there.where}; wait for it to end")
            if not told:
                say(f"run {run} is claimed by {there.where}; waiting to see whether that lives")
                told = True
            time.sleep(min(1.0, patience / 4))
            continue
        said = Said(uuid.uuid4().hex, 0, platform.node(), this_machine(), os.getpid(), began(os.getpid()) or "")
        if create(file_of(results, run, number + 1), json.dumps(dataclasses.asdict(said))):
            remove_up_to(results, run, number)
            return Claim(results, run, number + 1, said)


def remove_up_to(results: Path, run: str, number: int) -> None:
    for path in folder_of(results).glob(f"{run}.*.json"):
        if (last := path.stem.rpartition(".")[2]).isdigit() and int(last) <= number:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def held(claim: Claim) -> Iterator[Claim]:
    """Gives a claim back at the end of the block: with the error that ended it, or deleted if none did."""
    try:
        yield claim
    except BaseException as error:
        stopped = getattr(error, "exit_code", None) == 130 or isinstance(error, KeyboardInterrupt)
        with contextlib.suppress(UserError):  # a full disk is the error already
            claim.end(STOPPED if stopped else FAILED, f"{error}" or type(error).__name__)
        raise
    claim.drop()


@cache
def this_machine() -> str:
    """What tells this machine since its last start, and this container on it, from all others."""
    facts = [platform.node()]
    with contextlib.suppress(OSError):
        facts += [Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip(), os.readlink("/proc/self/ns/pid")]
    return " ".join(facts)


def began(process: int) -> str | None:
    """When a process of this machine began, in the system's own unit; None if it has ended."""
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else fields[18]
