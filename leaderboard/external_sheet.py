"""Results from elsewhere as tables: one for each task and its data."""

import itertools
from collections.abc import Container, Sequence

from lra.leaderboard import statistics
from lra.leaderboard.external import External, mean, table_of
from lra.leaderboard.levels import reach
from lra.leaderboard.sheet import FEW, FLOOR, Cell, Column, Entry, Sheet, percent, slug, tidy, unique

COLUMNS = (
    Column("system", number=False), Column("accuracy %"), Column("95 % interval"), Column("reaches"), Column("seeds"),
    Column("parameters"), Column("scored", number=False), Column("framework", number=False),
    Column("paper", number=False), Column("code", number=False), Column("note", number=False),
)  # fmt: skip


DATA = (
    "task", "version", "protocol", "changes", "data_sha256", "system", "accuracy_mean", "accuracy_low", "accuracy_high",
    "floor", "above_floor", "reaches", "seeds", "parameters", "selection", "framework", "paper", "source", "note",
    "result",
)  # fmt: skip


def sheets(results: Sequence[External], arena: Container[str] | None = None) -> list[Sheet]:
    """The tables of some results, which are sorted.

    Args:
      arena: the tasks of the arena; None if all are.
    """
    return unique([sheet(tuple(own), arena) for _, own in itertools.groupby(results, table_of)])


def sheet(results: Sequence[External], arena: Container[str] | None) -> Sheet:
    """The table of results on one task."""
    task, protocol, changes = results[0].task, results[0].protocol, results[0].changes
    under = ", ".join([f"protocol {protocol}" if protocol else "default sizes", *changes])
    foreign = "" if arena is None or task.name in arena else ", not a task of the arena"
    caption = (
        f"Majority-class floor {100 * task.floor.test:.2f} %, {task.examples.test:,} test examples, data "
        f"{task.data_sha256[:12]}. Models that other programs trained. The arena scored their answers; all else "
        "is as declared, and training followed no protocol of the arena. In no ranking."
    )
    return tidy(
        Sheet(slug(f"elsewhere {protocol or ''} {task.name} {' '.join(changes)}"),
              f"{task.name} {task.version}, {under}{foreign}: from elsewhere", caption, COLUMNS,
              tuple(map(entry, results)), floor=100 * task.floor.test)
    )  # fmt: skip


def flat(results: Sequence[External]) -> list[dict[str, object]]:
    """The rows of all tables, with `DATA` as keys. Accuracies are shares, not per cent; what is not there is None."""
    return [dict(zip(DATA, values(result))) for result in results]


def values(result: External) -> Sequence[object]:
    task, about = result.task, result.about
    share, low, high = statistics.accuracy_interval([seed.accuracy for seed in result.seeds])
    return [
        task.name, task.version, result.protocol, "; ".join(result.changes), task.data_sha256, about.name, share, low,
        high, task.floor.test, statistics.above_floor(share, task.examples.test, task.floor.test),
        farthest(result).value, len(result.seeds), about.parameters, about.selection, about.framework, about.paper,
        about.source, about.note, result.result,
    ]  # fmt: skip


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
