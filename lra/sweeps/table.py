"""What one sees of a sweep: a live table in a terminal, a line a minute elsewhere."""

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lra.progress import counted, duration
from lra.sweeps.sweep import DONE, ELSEWHERE, QUEUED, RUNNING, WAITING, Entry, Sweep

if TYPE_CHECKING:
    from types import TracebackType

LINE_EVERY = 60.0  # seconds between two lines, without a terminal
MOST = 16  # cells that have a line of their own in a terminal


class Screen:
    """Shows a sweep on standard error."""

    def __init__(self, sweep: Sweep):
        self.sweep, self.console = sweep, Console(stderr=True)
        self.live = Live(console=self.console, auto_refresh=False, transient=True)
        self.last, self.at_once = time.monotonic(), 1
        self.over: set[str] = set()

    def __enter__(self) -> "Screen":
        if self.console.is_terminal:
            self.live.start()
        self.over = {entry.cell.run for entry in self.sweep.entries if entry.seen}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: "TracebackType | None"
    ) -> None:
        self.live.stop()

    def say(self, text: str) -> None:
        """Prints a line that stays."""
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)

    def show(self, sweep: Sweep) -> None:
        for entry in sweep.entries:
            if entry.seen and entry.cell.run not in self.over:
                self.over.add(entry.cell.run)
                self.say(f"{entry.cell.name}: {in_words(entry)}, run {entry.cell.run}")
        if self.console.is_terminal:
            self.live.update(picture_of(sweep, self.at_once), refresh=True)
        elif time.monotonic() - self.last >= LINE_EVERY:
            self.last = time.monotonic()
            self.say(line_of(sweep, self.at_once))


def in_words(entry: Entry) -> str:
    """The state of a cell in words."""
    if entry.seen:
        score = entry.seen.accuracy
        return entry.state if score is None else f"{entry.state}, {100 * score:.2f} %"
    said = entry.said
    if entry.state in (RUNNING, ELSEWHERE) and said:
        left = f", {duration(said.left)} left" if said.left is not None else ""
        note = f", {said.note}" if said.note else ""
        where = f" ({said.where})" if entry.state == ELSEWHERE else ""
        return f"step {said.step:,} of {said.steps:,}{left}{note}{where}" if said.steps else f"begins{where}"
    if entry.state == WAITING and said and said.step:
        return f"stopped at step {said.step:,} of {said.steps:,}"
    return entry.state


def short(entry: Entry) -> str:
    """The state of a cell in a place of the table."""
    if entry.state == DONE and entry.seen and entry.seen.accuracy is not None:
        return f"{100 * entry.seen.accuracy:.1f} %"
    if entry.state in (RUNNING, ELSEWHERE) and entry.said and entry.said.steps:
        left = f" {duration(entry.said.left)}" if entry.said.left is not None else ""
        return f"{100 * entry.said.step / entry.said.steps:.0f}%{left}"
    return {WAITING: ".", QUEUED: "queued"}.get(entry.state, entry.state)


def picture_of(sweep: Sweep, at_once: int = 1) -> Group:
    """The table of the cells, the whole in a line, and a line for each cell that is trained."""
    running = [entry for entry in sweep.entries if entry.state in (RUNNING, ELSEWHERE)]
    lines = [f"{entry.cell.name}: {in_words(entry)}" for entry in running[:MOST]]
    lines += [f"and {len(running) - MOST} more"] if len(running) > MOST else []
    return Group(table_of(sweep), *map(Text, (line_of(sweep, at_once), *lines)))


def table_of(sweep: Sweep) -> Table:
    """Cells by variant and task; of several in one place, how many are in which state."""
    columns = list(dict.fromkeys((entry.cell.spec.task, entry.cell.spec.protocol) for entry in sweep.entries))
    several = len({protocol for _, protocol in columns}) > 1
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("variant")
    for task, protocol in columns:
        table.add_column(f"{task} {protocol}" if several else task, justify="right")
    places: dict[str, dict[tuple[str, str], list[Entry]]] = {}
    for entry in sweep.entries:
        spec = entry.cell.spec
        places.setdefault(spec.variant, {}).setdefault((spec.task, spec.protocol), []).append(entry)
    for variant, row in places.items():
        table.add_row(variant, *(together(row.get(column, [])) for column in columns))
    return table


def together(entries: list[Entry]) -> str:
    if len(entries) < 2:
        return short(entries[0]) if entries else ""
    counts = Counter(entry.state for entry in entries)
    scores = [entry.seen.accuracy for entry in entries if entry.seen and entry.seen.accuracy is not None]
    mean = f", mean {100 * sum(scores) / len(scores):.1f} %" if scores else ""
    return ", ".join(f"{count} {state}" for state, count in counts.items()) + mean


def line_of(sweep: Sweep, at_once: int = 1) -> str:
    """The whole in a line; `at_once` as for `seconds_left`."""
    counts = sweep.counts
    words = [f"{counts[state]} {state}" for state in dict.fromkeys((DONE, RUNNING, *sorted(counts))) if counts[state]]
    left = sweep.seconds_left(at_once)
    end = f"; about {duration(left)} left" if left is not None else ""
    return f"{counted(len(sweep.entries), 'cell')}: {', '.join(words)}{end}"


def as_json(sweep: Sweep) -> list[dict[str, Any]]:
    """The cells for a script."""
    return [
        {
            "run": entry.cell.run, "task": entry.cell.spec.task, "variant": entry.cell.spec.variant,
            "protocol": entry.cell.spec.protocol, "seeds": entry.cell.spec.seeds,
            "overrides": entry.cell.spec.overrides, "state": entry.state, "reason": entry.reason,
            "accuracy": entry.seen.accuracy if entry.seen else None,
            "step": entry.said.step if entry.said else None, "steps": entry.cell.steps,
            "seconds_left": entry.said.left if entry.said else None,
            "where": entry.said.where if entry.said and entry.state in (RUNNING, ELSEWHERE) else None,
        }
        for entry in sweep.entries
    ]  # fmt: skip
