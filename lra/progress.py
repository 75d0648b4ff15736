"""Progress with the remaining time: a bar in a terminal, a line every 15 seconds in a log."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_EVERY = 15.0  # seconds between two lines, without a terminal


class Bar:
    """One progress bar.

    Args:
      within: a bar that advances together with this one.
    """

    def __init__(self, progress: Progress, console: Console, name: str, total: int, within: "Bar | None"):
        self.progress, self.console, self.name = progress, console, name
        self.total, self.within = total, within
        self.row = progress.add_task(name, total=total, note="")
        self.done = self.skipped = 0
        self.text = ""
        self.began: float | None = None
        self.last_line = time.monotonic()

    def advance(self, amount: int) -> None:
        """Reports work that was done since the last call."""
        if self.began is None:  # the first call includes the compilation, so the estimate ignores it
            self.skipped += amount
            self.began = time.monotonic()
        self.done += amount
        self.progress.update(self.row, completed=self.done, note=self.text)
        if self.within:
            self.within.advance(amount)
        elif not self.console.is_terminal:
            self.line()

    def skip(self, amount: int) -> None:
        """Reports work that an earlier process did. The estimate ignores it."""
        self.skipped += amount
        self.done += amount
        self.progress.update(self.row, completed=self.done)
        if self.within:
            self.within.skip(amount)

    def note(self, text: str) -> None:
        """Sets the text behind the bar."""
        self.text = text
        if self.within:
            self.within.text = f"({self.name}: {text})"
        self.progress.update(self.row, note=text)

    def line(self) -> None:
        """Prints a line with the remaining time if the last one is old enough."""
        now = time.monotonic()
        if self.began and self.done > self.skipped and now - self.last_line >= LINE_EVERY:
            left = (now - self.began) * (self.total - self.done) / (self.done - self.skipped)
            text = f"{self.name}: {self.done:,} of {self.total:,}, about {left:.0f} s left {self.text}"
            self.console.print(text.rstrip(), highlight=False, markup=False)
            self.last_line = now


def silent_bar(name: str, total: int) -> Bar:
    """A bar that shows nothing."""
    display = Display(quiet=True)
    return Bar(display.progress, display.console, name, total, None)


class Display:
    """Progress bars on standard error. Standard output is left to results."""

    def __init__(self, quiet: bool = False):
        self.console = Console(stderr=True, quiet=quiet)
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
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
    def bar(self, name: str, total: int, within: Bar | None = None) -> Iterator[Bar]:
        """A bar that disappears when the block ends."""
        bar = Bar(self.progress, self.console, name, total, within)
        try:
            yield bar
        finally:
            self.progress.remove_task(bar.row)

    def say(self, text: str) -> None:
        """Prints a line that stays."""
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)
