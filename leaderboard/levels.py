"""Accuracy by difficulty: how far each row of a probe gets."""

import dataclasses
from collections.abc import Sequence

from lra.leaderboard.board import Table
from lra.leaderboard.record import Difficulty
from lra.leaderboard.row import Row

ByLevel = tuple[float | None, ...]  # the accuracy on each level, as a share


@dataclasses.dataclass(frozen=True)
class Levels:
    """A table by difficulty.

    Attributes:
      rows: by row of the table, the accuracy of each seed on each level.
    """

    table: Table
    difficulty: Difficulty
    rows: tuple[tuple[ByLevel, ...], ...]

    @property
    def protocol(self) -> str:
        return self.table.protocol

    @property
    def task(self) -> str:
        return f"{self.table.task} by difficulty"

    @property
    def version(self) -> str:
        return self.table.version

    @property
    def data(self) -> str:
        return self.table.data


def levels_of(table: Table) -> Levels | None:
    """The table by difficulty; None if its task does not tell any."""
    difficulty = table.rows[0].task.difficulty
    return Levels(table, difficulty, tuple(map(by_seed, table.rows))) if difficulty else None


def by_seed(row: Row) -> tuple[ByLevel, ...]:
    """The accuracy of each seed of a row on each level. A seed that diverged is left out."""
    found: dict[int, ByLevel] = {}
    for record in row.counted:
        for seed in record.seeds:
            if seed.by_level is not None:
                found.setdefault(seed.seed, seed.by_level)
    return tuple(found[seed] for seed in sorted(found))


def masters(share: float | None, floor: float) -> bool:
    """Whether an accuracy is nearer to 1 than to the floor."""
    return share is not None and share >= (1 + floor) / 2


def reach(levels: Sequence[float | None], floor: Sequence[float]) -> int:
    """How many levels, from the first on, are mastered without a gap. Levels that everyone masters count.

    >>> reach((1.0, 0.9, 0.3, 0.8), (1.0, 0.25, 0.25, 0.25))
    2
    """
    count = 0
    for share, least in zip(levels, floor):
        if least < 1 and not masters(share, least):
            break
        count += 1
    return count


def best(levels: Levels, row: int) -> ByLevel | None:
    """The seed of a row that reaches farthest; of several, the one with the highest mean. None without any."""
    floor = levels.difficulty.floor
    order = lambda own: (reach(own, floor), sum(share or 0.0 for share in own))
    return max(levels.rows[row], key=order, default=None)
