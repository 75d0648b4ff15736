"""The loop of a sweep: submits the cells that have no record, until each has one or has failed."""

import dataclasses
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from lra import claims
from lra.errors import UserError
from lra.interrupt import STOPPED
from lra.progress import counted
from lra.runs import checkpoints
from lra.sweeps.cell import Cell, Glance, recorded
from lra.sweeps.executor import Ended, Lost, Session, State, Waiting
from lra.sweeps.process import TAKEN
from lra.sweeps.worker import log_of

LOOK = 0.5  # seconds between two looks at results and executor
TRIES = 3  # processes of one cell that may be killed in a row without a new checkpoint
WAITING, QUEUED, RUNNING, ELSEWHERE = "waiting", "queued", "running", "running elsewhere"
DONE, DIVERGED, FAILED = "done", "diverged", "failed"
OVER = (DONE, DIVERGED, FAILED)


@dataclasses.dataclass
class Entry:
    """A cell, and how far it is.

    Attributes:
      state: one of the words above.
      job: the executor's name of its job; None if it has none.
      said: what the claim of its run says; None if there is none.
      seen: its record; None if there is none.
      reason: why it failed.
      began_at: the checkpoint, by its step, from which its last process began.
      killed: how many processes in a row were killed without a new checkpoint.
      was_elsewhere: whether another process was seen to train it.
      expected: the seconds that it will take from its beginning; None if they cannot be known yet.
      rank: cells of a low rank are submitted before others.
      paced: the first step of its process that was seen, and when, by the monotonic clock.
    """

    cell: Cell
    state: str = WAITING
    job: str | None = None
    said: claims.Said | None = None
    seen: Glance | None = None
    reason: str = ""
    began_at: int = -1
    killed: int = 0
    was_elsewhere: bool = False
    expected: float | None = None
    rank: float = 0.0
    paced: tuple[int, float] | None = None

    @property
    def steps_per_second(self) -> float | None:
        """The speed since its process was first seen to have trained a step; None until it has trained more."""
        if not self.paced or not self.said or self.said.step <= self.paced[0]:
            return None
        return (self.said.step - self.paced[0]) / (time.monotonic() - self.paced[1])


class Sweep:
    """A sweep that is under way.

    Args:
      results: the results folder.
      kernels, checkpoint_every: as for `execute`.
      say: prints a line that stays.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        results: Path,
        kernels: str = "auto",
        checkpoint_every: float = 30.0,
        say: Callable[[str], None] = print,
    ):
        self.entries = [Entry(cell) for cell in cells]
        self.results, self.kernels, self.checkpoint_every, self.say = results, kernels, checkpoint_every, say
        self.observer = claims.Observer()
        self.look()

    @property
    def left(self) -> list[Entry]:
        """The entries that are not over."""
        return [entry for entry in self.entries if entry.state not in OVER]

    @property
    def submitted(self) -> list[Entry]:
        """The entries whose job has not ended. A process ends a moment after it has written its record."""
        return [entry for entry in self.entries if entry.job is not None]

    @property
    def counts(self) -> Counter[str]:
        """How many cells are in each state."""
        return Counter(entry.state for entry in self.entries)

    def seconds_left(self, at_once: int) -> float | None:
        """The seconds until all cells are over; None if not all can be known yet.

        Args:
          at_once: how many cells run at once.
        """
        each = [
            entry.said.left if entry.said and entry.said.left is not None else entry.expected for entry in self.left
        ]
        known = [seconds for seconds in each if seconds is not None]
        return max([sum(known) / at_once, *known]) if each and len(known) == len(each) else None

    def look(self) -> None:
        """Looks which cells have a record by now, and what the claims of the others say."""
        left = {entry.cell.run: entry for entry in self.left}
        for run, seen in recorded(self.results, left).items():
            left[run].seen, left[run].state = seen, DONE if seen.status == "ok" else DIVERGED
        there = claims.look(self.results) if self.left else {}
        for entry in self.left:
            _, entry.said = there.get(entry.cell.run, (0, None))
            lives = entry.said is not None and self.observer.lives(entry.said)
            if not lives:
                entry.paced = None
            elif entry.said and entry.said.step and not entry.paced:
                entry.paced = entry.said.step, time.monotonic()
            if entry.job is None and entry.said and lives:
                entry.state, entry.was_elsewhere = ELSEWHERE, True
            elif entry.job is None:
                entry.state = WAITING
                if entry.was_elsewhere and entry.said and entry.said.state == claims.FAILED:
                    entry.state, entry.reason = FAILED, entry.said.reason

    def run(
        self,
        session: Session,
        stop: threading.Event,
        show: Callable[["Sweep"], None] = lambda sweep: None,
        until: float = float("inf"),
    ) -> None:
        """Runs what has no record. It ends when all cells are over, or what ran has stopped at a checkpoint.

        Args:
          stop: once set, running cells are stopped at a checkpoint.
          show: is called after each look.
          until: on the monotonic clock, when the same happens.

        Raises:
          UserError: the executor cannot submit.
        """
        cancelled = False
        while self.left or self.submitted:
            self.ask(session)
            self.look()
            show(self)
            mine = self.submitted
            if stop.is_set() or time.monotonic() >= until:
                if not cancelled:
                    session.cancel([entry.job for entry in mine if entry.job])
                    cancelled = True
                if not mine:
                    break
            else:
                self.submit(session, len(mine))
            if self.left or self.submitted:
                stop.wait(LOOK) if not cancelled else time.sleep(LOOK)
        show(self)

    def submit(self, session: Session, running: int) -> None:
        """Submits cells that wait, as many as the executor takes."""
        ready = sorted((entry for entry in self.left if entry.state == WAITING), key=lambda entry: entry.rank)
        chosen = ready if session.slots is None else ready[: max(0, session.slots - running)]
        steps = {folder.name: step for folder, step in checkpoints(self.results)} if chosen else {}
        jobs = [entry.cell.job(self.results, self.kernels, self.checkpoint_every) for entry in chosen]
        for entry, name in zip(chosen, session.submit(jobs) if jobs else ()):
            step = steps.get(entry.cell.run, 0)
            entry.killed = 0 if step > entry.began_at else entry.killed
            entry.job, entry.state, entry.began_at = name, QUEUED, step

    def ask(self, session: Session) -> None:
        """Learns from the executor what became of the jobs."""
        mine = {entry.job: entry for entry in self.submitted if entry.job}
        for name, state in (session.ask([*mine]) if mine else {}).items():
            self.heed(mine[name], state)

    def heed(self, entry: Entry, state: State) -> None:
        """Takes note of the state of an entry's job."""
        if entry.state in OVER:
            entry.job = None if isinstance(state, Ended | Lost) else entry.job
        elif isinstance(state, Waiting):
            entry.state = QUEUED
        elif isinstance(state, Lost):
            entry.job = None
            self.was_killed(entry, state.why)
        elif not isinstance(state, Ended):
            entry.state = RUNNING
        else:
            entry.job, entry.state = None, WAITING
            if state.code < 0 or (state.code > 128 and state.code != STOPPED):
                number = -state.code if state.code < 0 else state.code - 128
                self.was_killed(entry, f"killed by {name_of(number)}")
            elif state.code not in (0, TAKEN, STOPPED):
                entry.state, entry.reason = FAILED, self.last_line(entry) or f"exit code {state.code}"

    def was_killed(self, entry: Entry, why: str) -> None:
        """A process of the entry was killed: another one goes on, unless that happens again and again."""
        entry.killed, entry.state = entry.killed + 1, WAITING
        if entry.killed >= TRIES:
            last = self.last_line(entry)
            entry.state, entry.reason = FAILED, f"{why}, {TRIES} times without a new checkpoint{last and f': {last}'}"
        else:
            self.say(f"{entry.cell.name}: {why}; it goes on from its last checkpoint")

    def last_line(self, entry: Entry) -> str:
        """The last line of the log of a cell."""
        try:
            text = log_of(self.results, entry.cell.run).read_text("utf-8", errors="replace")
        except OSError:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1].removeprefix("lra: ")[:300] if lines else ""

    def failures(self) -> str:
        """The cells that failed, each with its last line, its log and the command that runs it alone."""
        return "\n".join(
            f"{entry.cell.name}: {entry.reason}\n    {entry.cell.command(self.results)}\n"
            f"    log: {log_of(self.results, entry.cell.run)}"
            for entry in self.entries
            if entry.state == FAILED
        )

    def require_success(self) -> None:
        """Raises UserError if a cell failed."""
        counts = self.counts
        if counts[FAILED]:
            raise UserError(
                f"{counts[FAILED]} of {counted(len(self.entries), 'cell')} failed; the same command tries again"
            )


def name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
