"""Progress with the remaining time: a bar in a terminal, a line every 15 seconds in a log."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

LINE_EVERY = 15.0  # seconds between two lines, without a terminal
MAIN = ""  # the main kind of work
NOTHING: Mapping[str, float] = MappingProxyType({})


@dataclasses.dataclass
class Work:
    """Work of one kind, in units of this kind.

    Attributes:
      timed: how much of `done` was done here, in `seconds`.
    """

    total: float
    done: float = 0
    timed: float = 0
    seconds: float = 0

    @property
    def left(self) -> float:
        return max(0.0, self.total - self.done)

    @property
    def seconds_each(self) -> float | None:
        """The seconds of one unit; None if no unit was timed."""
        return self.seconds / self.timed if self.timed else None


def duration(seconds: float) -> str:
    """A time in words.

    >>> [duration(seconds) for seconds in (8.4, 150, 9000)]
    ['8 s', '2.5 min', '2.5 h']
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    number, unit = (seconds / 60, "min") if seconds < 6000 else (seconds / 3600, "h")
    return f"{number:.1f} {unit}" if number < 10 else f"{number:,.0f} {unit}"


def counted(number: int, what: str) -> str:
    """A number of things in words.

    >>> counted(1, "cell"), counted(1008, "cell")
    ('1 cell', '1,008 cells')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


class Bar:
    """One progress bar. It shows the work of its main kind, and the time that all its work will still take.

    Args:
      total: the work of the main kind.
      more: other work by kind. Until its speed is known, a unit of it counts as one of the main kind.
      within: a bar of the same kinds that advances together with this one.
    """

    def __init__(
        self, display: "Display", name: str, total: float, more: Mapping[str, float] = NOTHING,
        within: "Bar | None" = None,
    ):  # fmt: skip
        self.display, self.name, self.within = display, name, within
        self.works = {kind: Work(amount) for kind, amount in {MAIN: total, **more}.items()}
        self.row = display.progress.add_task(name, total=total, note="", left="")
        self.text = ""
        self.reported = self.last_line = time.monotonic()

    def advance(self, amount: float, kind: str = MAIN) -> None:
        """Reports work that took the time since the last report."""
        work, now = self.works[kind], time.monotonic()
        work.done += amount
        work.timed += amount
        work.seconds += now - self.reported
        self.reported = now
        self.show()
        if self.within:
            self.within.advance(amount, kind)
        elif not self.display.console.is_terminal:
            self.line()

    def skip(self, amount: float, kind: str = MAIN) -> None:
        """Reports work that nobody needs to do, or that an earlier process did."""
        self.works[kind].done += amount
        self.show()
        if self.within:
            self.within.skip(amount, kind)

    def skip_rest(self) -> None:
        """Reports that nothing is left to do."""
        for kind, work in self.works.items():
            self.skip(work.left, kind)

    def note(self, text: str) -> None:
        """Sets the text behind the bar."""
        self.text = text
        if self.within:
            self.within.note(f"{self.name}: {text}" if text else self.name)
        self.show()

    def seconds_left(self) -> float | None:
        """The seconds of all work that is left; None if no unit of the main kind was timed."""
        usual = self.works[MAIN].seconds_each
        if usual is None:
            return None
        return sum(
            work.left * (usual if work.seconds_each is None else work.seconds_each) for work in self.works.values()
        )

    def show(self) -> None:
        left = self.seconds_left()
        words = "" if left is None else f"{duration(left)} left"
        self.display.progress.update(self.row, completed=self.works[MAIN].done, note=self.text, left=words)

    def line(self) -> None:
        """Prints a line with the remaining time if the last one is old enough."""
        left, now = self.seconds_left(), time.monotonic()
        if left is not None and now - self.last_line >= LINE_EVERY:
            main = self.works[MAIN]
            text = f"{self.name}: {main.done:,.0f} of {main.total:,.0f}, about {duration(left)} left"
            self.display.say(f"{text}, {self.text}" if self.text else text)
            self.last_line = now


def silent_bar(name: str, total: float, more: Mapping[str, float]) -> Bar:
    """A bar that shows nothing."""
    return Bar(Display(quiet=True), name, total, more)


class Display:
    """Progress bars on standard error. Standard output is left to results."""

    def __init__(self, quiet: bool = False):
        self.console = Console(stderr=True, quiet=quiet)
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            TextColumn("{task.fields[note]}", markup=False),
            console=self.console,
            transient=True,
        )
        self.stack = contextlib.ExitStack()

    def __enter__(self) -> "Display":
        if self.console.is_terminal:
            self.stack.enter_context(self.progress)
        return self

    def __exit__(self, *exception: Any) -> None:
        self.stack.close()

    @contextlib.contextmanager
    def bar(
        self, name: str, total: float, more: Mapping[str, float] = NOTHING, within: Bar | None = None
    ) -> Iterator[Bar]:
        """A bar that disappears when the block ends; arguments as for `Bar`."""
        bar = Bar(self, name, total, more, within)
        try:
            yield bar
        finally:
            bar.skip_rest()  # what is not done now will not be done
            self.progress.remove_task(bar.row)

    def say(self, text: str) -> None:
        """Prints a line that stays."""
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)
