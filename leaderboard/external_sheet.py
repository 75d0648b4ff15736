"""Results from elsewhere as tables: one for each task and its data."""

import itertools
from collections.abc import Sequence

from lra.leaderboard import statistics
from lra.leaderboard.external import External, mean
from lra.leaderboard.levels import reach
from lra.leaderboard.sheet import FEW, FLOOR, Cell, Column, Entry, Sheet, percent, slug, tidy

COLUMNS = (
    Column("system", number=False), Column("accuracy %"), Column("95 % interval"), Column("reaches"), Column("seeds"),
    Column("parameters"), Column("scored", number=False), Column("framework", number=False),
    Column("paper", number=False), Column("code", number=False), Column("note", number=False),
)  # fmt: skip


def sheets(results: Sequence[External]) -> list[Sheet]:
    """The tables of some results, which are sorted."""
    data = lambda one: (one.task.name, one.task.version, one.protocol or "", one.task.data_sha256)
    return [sheet(tuple(own)) for _, own in itertools.groupby(results, data)]


def sheet(results: Sequence[External]) -> Sheet:
    """The table of results on one task."""
    task, protocol = results[0].task, results[0].protocol
    under = f"protocol {protocol}" if protocol else "default sizes"
    caption = (
        f"Majority-class floor {100 * task.floor.test:.2f} %, {task.examples.test:,} test examples, data "
        f"{task.data_sha256[:12]}. Models that other programs trained. The arena scored their answers; all else "
        "is as declared, and training followed no protocol of the arena. In no ranking."
    )
    return tidy(
        Sheet(slug(f"elsewhere {protocol or ''} {task.name}"), f"{task.name} {task.version}, {under}: from elsewhere",
              caption, COLUMNS, tuple(map(entry, results)), floor=100 * task.floor.test)
    )  # fmt: skip


def entry(result: External) -> Entry:
    task, about = result.task, result.about
    interval = percent(statistics.accuracy_interval([seed.accuracy for seed in result.seeds]))
    low_high = interval is not None and interval.low is not None and interval.high is not None
    above = statistics.above_floor(mean(result), task.examples.test, task.floor.test)
    few = (FEW,) if len(result.seeds) < statistics.FEW else ()
    cells = [
        Cell(about.name, about.name),
        Cell(f"{100 * mean(result):.2f}", 100 * mean(result), () if above else (FLOOR,), interval),
        Cell(f"{interval.low:.2f} to {interval.high:.2f}", interval.low) if low_high and interval else Cell(),
        farthest(result),
        Cell(str(len(result.seeds)), len(result.seeds), few),
        Cell(f"{about.parameters:,}", about.parameters),
        *(Cell(text, text) for text in (about.selection, about.framework, about.paper, about.source, about.note)),
    ]
    return Entry(tuple(cells))


def farthest(result: External) -> Cell:
    """The highest level of difficulty that a seed reaches; empty for a task without difficulty."""
    if (told := result.task.difficulty) is None:
        return Cell()
    count = max(reach(seed.by_level, told.floor) for seed in result.seeds if seed.by_level)
    return Cell(f"{told.levels[count - 1]}", told.levels[count - 1]) if count else Cell("none", 0)
