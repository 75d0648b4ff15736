"""All that an output shows: what `lra leaderboard build` has read, and the tables made from it."""

import dataclasses
from typing import NamedTuple

from lra.leaderboard.board import Board
from lra.leaderboard.record import Record
from lra.leaderboard.sheet import Sheet


class Point(NamedTuple):
    """A model's training step at one length; None where it was not measured."""

    model: str
    length: int
    steps_per_second: float | None
    megabytes: float | None


@dataclasses.dataclass(frozen=True)
class Scaling:
    """Time and memory against length, of one source: they are compared with nothing from elsewhere."""

    name: str
    title: str
    caption: str
    points: tuple[Point, ...]


@dataclasses.dataclass(frozen=True)
class View:
    """
    Attributes:
      sheets: of the records.
      published: of the literature: in no ranking with the records.
      records: those behind `board`, by run.
      left_out: files that are no records, each with the reason, in one line.
    """

    board: Board
    sheets: tuple[Sheet, ...]
    published: tuple[Sheet, ...]
    scalings: tuple[Scaling, ...]
    records: tuple[Record, ...]
    left_out: tuple[str, ...]
