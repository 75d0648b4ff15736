"""The rows of all tables as one flat list: the same keys in CSV and in JSON."""

from collections.abc import Sequence
from typing import Any

from lra.leaderboard.board import Board, Table
from lra.leaderboard.row import Row
from lra.leaderboard.sheet import EACH, OWN, PROJECT, labels

COLUMNS = (
    "task", "version", "protocol", "data_sha256", "variant", "variant_version", "source_sha256", "family", "from",
    "ranked", "accuracy_mean", "accuracy_low", "accuracy_high", "floor", "above_floor", "reference", "difference", "p",
    "seeds", "diverged", "learnt", "parameters", "learning_rate", "hardware", "sweep", "steps_per_second",
    "memory_bytes", "note", "runs",
)  # fmt: skip


def flat(board: Board) -> list[dict[str, Any]]:
    """The rows of all tables, with `COLUMNS` as keys.

    Accuracies are shares, not per cent; numbers have ten digits; what is not there is None. `sweep`,
    `steps_per_second` and `memory_bytes` are lists with a value for each of `hardware`, `runs` is a list.
    """
    return [
        dict(zip(COLUMNS, map(plain, values(table, row, name))))
        for table in board.tables
        for row, name in zip(table.rows, labels(table.rows))
    ]


def values(table: Table, row: Row, name: str) -> Sequence[object]:
    low, high = (row.interval.low, row.interval.high) if row.interval else (None, None)
    difference, p = (row.versus.difference, row.versus.p) if row.versus else (None, None)
    note = "; ".join([*([row.note] if row.note else []), *row.breaches])
    return [
        table.task, table.version, table.protocol, table.data, name, int(row.key[1]), row.key[2] or None,
        row.family or None, PROJECT if row.came else OWN, not row.breaches, row.mean, low, high, table.floor,
        row.above_floor, table.reference or None, difference, p, row.seeds, row.diverged, row.learnt, row.parameters,
        row.rate or None, [cost.hardware for cost in row.costs], [cost.since for cost in row.costs],
        [cost.steps_per_second for cost in row.costs], [cost.memory for cost in row.costs], note, [*row.runs],
    ]  # fmt: skip


def plain(value: Any) -> Any:
    """A value that is the same on all hardware."""
    if isinstance(value, list):
        return [*map(plain, value)]
    return float(f"{value:.10g}") if isinstance(value, float) else value


def joined(value: Any) -> Any:
    """A value as a cell of CSV: the parts of a list in one text, unless it is only one."""
    if not isinstance(value, list):
        return value
    return value[0] if len(value) == 1 else EACH.join("" if part is None else str(part) for part in value)
