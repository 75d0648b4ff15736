"""All that the outputs of `lra leaderboard build` show: records, and the tables made from them."""

import dataclasses
from typing import NamedTuple

from lra.leaderboard.benchmark import Benchmark
from lra.leaderboard.board import Board
from lra.leaderboard.external import External
from lra.leaderboard.record import Record
from lra.leaderboard.sheet import Sheet


class Point(NamedTuple):
    """The cost of a train step of a model at one length; None where it was not measured."""

    model: str
    length: int
    steps_per_second: float | None
    megabytes: float | None


@dataclasses.dataclass(frozen=True)
class Scaling:
    """Time and memory against length from one source. They are not compared with other sources."""

    name: str
    title: str
    caption: str
    points: tuple[Point, ...]


@dataclasses.dataclass(frozen=True)
class View:
    """All that is shown.

    Attributes:
      sheets: the tables of the records.
      published: the tables of the literature, which are not ranked with the records.
      records: the records behind `board`, sorted by run.
      left_out: a line for each file that is not a valid record, with the reason.
      results: the results of other programs, sorted by table.
      elsewhere: their tables, which are not ranked with the records either.
      benchmarks: what `lra bench variants` has measured.
    """

    board: Board
    sheets: tuple[Sheet, ...]
    published: tuple[Sheet, ...]
    scalings: tuple[Scaling, ...]
    records: tuple[Record, ...]
    left_out: tuple[str, ...]
    benchmarks: tuple[Benchmark, ...] = ()
    results: tuple[External, ...] = ()
    elsewhere: tuple[Sheet, ...] = ()
