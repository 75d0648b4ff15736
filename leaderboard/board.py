"""The numbers of the leaderboard: a table for each task, data and protocol, and an overview of all tasks.

They are a pure function of the records; neither the order nor the folder of a record matters.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from lra.leaderboard import statistics
from lra.leaderboard.config import identity_sha256
from lra.leaderboard.predictions import unpack
from lra.leaderboard.record import Measurements, Record, TaskInfo
from lra.leaderboard.statistics import Interval
from lra.leaderboard.tracks import FIVE, SIX, Track, breaches

REFERENCE = "transformer"
RightAnswers = dict[int, Bool[np.ndarray, " examples"]]  # by seed: whether each test example was answered right


class VersusReference(NamedTuple):
    """How a row differs from the reference row, on the test examples and seeds that both have.

    Attributes:
      difference: the accuracy of the row minus that of the reference, as a share.
      p: the p-value of `statistics.paired`, corrected for the number of rows of the table (Holm).
      seeds: the number of seeds that both rows have.
    """

    difference: float
    p: float
    seeds: int


class Cost(NamedTuple):
    """What training costs on one kind of hardware; None where it was not measured.

    Attributes:
      hardware: the name of the device; for a CPU followed by its number of cores.
      steps_per_second: train steps, summed over the seeds of a run, which train together.
      memory: the most bytes that a train step of all seeds took.
    """

    hardware: str
    steps_per_second: float | None
    memory: int | None


@dataclasses.dataclass(frozen=True)
class Row:
    """A variant in one table. All its records are merged.

    Attributes:
      key: identifies the variant across tasks: label, version, hash of its source.
      label: the name of the variant, with the bindings of its options.
      accuracy: the accuracy on the full test split as a share, by seed.
      diverged: the number of seeds that diverged.
      learnt: the number of seeds that are above the floor by more than luck.
      above_floor: whether the mean accuracy is above the floor by more than luck.
      parameters: the parameter count of one seed.
      costs: one for each hardware, sorted by name. Measurements on different hardware are never averaged.
      breaches: the rules of the track that the row breaks. A row with breaches is not ranked.
      note: the failures among its runs, in words.
      versus: the difference from the reference row; None for the reference itself, or without common predictions.
    """

    key: tuple[str, ...]
    label: str
    records: tuple[Record, ...]
    accuracy: Mapping[int, float]
    diverged: int
    learnt: int
    above_floor: bool
    parameters: int
    costs: tuple[Cost, ...]
    breaches: tuple[str, ...]
    note: str
    versus: VersusReference | None = None

    @property
    def task(self) -> TaskInfo:
        return self.records[0].task

    @property
    def hardware(self) -> tuple[str, ...]:
        return tuple(cost.hardware for cost in self.costs)

    @cached_property
    def interval(self) -> Interval | None:
        return statistics.interval([*self.accuracy.values()]) if self.accuracy else None

    @property
    def mean(self) -> float | None:
        return self.interval.mean if self.interval else None

    @property
    def seeds(self) -> int:
        return len(self.accuracy) + self.diverged

    @property
    def few(self) -> bool:
        return self.seeds < statistics.FEW


class Held(NamedTuple):
    """A record, and the rules of its protocol's track that it breaks."""

    record: Record
    breaches: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of one task, one set of data and one protocol. Ranked rows come first, the best at the top.

    Attributes:
      version: the version of the task.
      rules: the rules of the protocol's track, in words; empty if the protocol has no track.
      data: the SHA-256 of the data.
      floor: the accuracy of always giving the most frequent label, as a share.
      examples: the number of test examples.
      reference: the label of the row that the others are compared with; empty if there is none.
    """

    task: str
    version: str
    protocol: str
    rules: str
    data: str
    floor: float
    examples: int
    rows: tuple[Row, ...]
    reference: str

    @property
    def title(self) -> str:
        return f"{self.task} {self.version}, protocol {self.protocol}"


class Line(NamedTuple):
    """A variant in an overview.

    Attributes:
      cells: the rows of the variant, by task.
      five: the mean accuracy over LRA's five tasks without Path-X; None if a task is missing.
      six: the mean accuracy with Path-X; a seed that learnt nothing on Path-X counts 50 %. None if a task is missing.
      points, rank: Borda points and rank over the tasks of the overview; None if a task is missing.
    """

    key: tuple[str, ...]
    label: str
    cells: Mapping[str, Row]
    five: float | None
    six: float | None
    points: float | None
    rank: int | None


@dataclasses.dataclass(frozen=True)
class Overview:
    """All tasks of a protocol side by side. Lines are sorted by average, Borda points and name."""

    protocol: str
    rules: str
    tables: tuple[Table, ...]
    lines: tuple[Line, ...]


@dataclasses.dataclass(frozen=True)
class Board:
    """All tables and overviews.

    Attributes:
      breaches: the rules of its track that a record breaks, by run.
    """

    tables: tuple[Table, ...]
    overviews: tuple[Overview, ...]
    breaches: Mapping[str, tuple[str, ...]]


def make_board(records: Iterable[Record], tracks: Mapping[str, Track], reference: str = REFERENCE) -> Board:
    """The tables of some records, in a fixed order.

    Bindings of a variant's options that were given by hand make a separate row. All other bindings given by hand
    change the protocol, and make a separate table.

    Args:
      tracks: the track of each protocol, by name. Tables have this order; those of other protocols come last.
      reference: the variant, or the label of the row, that all other rows are compared with.
    """
    groups: dict[tuple[str, ...], dict[tuple[str, ...], list[Held]]] = defaultdict(lambda: defaultdict(list))
    for record in sorted(records, key=lambda record: record.run):
        variant, task = record.variant, record.task
        _, other = bindings(record)
        group = (task.name, task.version, ", ".join([record.protocol.name, *other]), task.data_sha256)
        key = (label(record), str(variant.version), variant.source_sha256 or "", identity_sha256(record))
        groups[group][key].append(Held(record, breaches(record, tracks.get(record.protocol.name))))
    rules = {name: track.rules for name, track in tracks.items()}
    tables = [table_of(group, rows, rules, reference) for group, rows in sorted(groups.items())]
    order = [*tracks]
    number = lambda protocol: order.index(protocol) if protocol in order else len(order)
    protocols = sorted({table.protocol for table in tables}, key=lambda protocol: (number(protocol), protocol))
    tables.sort(key=lambda table: (protocols.index(table.protocol), place(table), table.version, table.data))
    overviews = [overview_of(name, [table for table in tables if table.protocol == name]) for name in protocols]
    return Board(
        tuple(tables),
        tuple(overview for overview in overviews if len(overview.tables) > 1),
        {held.record.run: held.breaches for rows in groups.values() for same in rows.values() for held in same},
    )


def bindings(record: Record) -> tuple[list[str], list[str]]:
    """The bindings given by hand: those of the variant's options, without its name, and all others."""
    prefix = f"{record.variant.name}."
    lines = record.protocol.overrides
    own = [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
    return own, [line for line in lines if not line.startswith(prefix)]


def label(record: Record) -> str:
    own, _ = bindings(record)
    return record.variant.name + (f" ({', '.join(own)})" if own else "")


def place(table: Table) -> tuple[int, str]:
    """The position of a table in LRA's customary order of tasks. A stand-in has the position of its task."""
    name = table.rows[0].task.stands_in_for or table.task
    return (SIX.index(name) if name in SIX else len(SIX), table.task)


def table_of(
    group: tuple[str, ...],
    records: Mapping[tuple[str, ...], Sequence[Held]],
    rules: Mapping[str, str],
    reference: str,
) -> Table:
    name, version, protocol, data = group
    rows = [
        row_of(key[:3], [held.record for held in same], [breach for held in same for breach in held.breaches])
        for key, same in sorted(records.items())
    ]
    rows.sort(key=lambda row: (bool(row.breaches), row.mean is None, -(row.mean or 0), row.key, row.records[0].run))
    base = next((row for row in rows if reference in (row.label, row.key[0])), None)
    info = rows[0].task
    return Table(
        name, version, protocol, rules.get(protocol, ""), data, info.floor.test, info.examples.test,
        tuple(compared(rows, base)), base.label if base else "",
    )  # fmt: skip


def row_of(key: tuple[str, ...], records: Sequence[Record], breaches: Iterable[str] = ()) -> Row:
    """One row from the records of one configuration with different seeds. Each seed counts once.

    Args:
      breaches: the rules of the track that the runs break.
    """
    task = records[0].task
    accuracy: dict[int, float] = {}
    diverged: set[int] = set()
    for record in records:
        for seed in record.seeds:
            if seed.test is not None:
                accuracy.setdefault(seed.seed, seed.test.accuracy)
            else:
                diverged.add(seed.seed)
    above = lambda share: statistics.above_floor(share, task.examples.test, task.floor.test)
    notes = [status for status in ("failed", "out of memory") if any(record.status == status for record in records)]
    return Row(
        key=key,
        label=key[0],
        records=tuple(records),
        accuracy=dict(sorted(accuracy.items())),
        diverged=len(diverged - accuracy.keys()),
        learnt=sum(map(above, accuracy.values())),
        above_floor=bool(accuracy) and above(float(np.mean([*accuracy.values()]))),
        parameters=records[0].parameters,
        costs=costs_of(records),
        breaches=tuple(dict.fromkeys(breaches)),
        note="; ".join(notes),
    )


def costs_of(records: Iterable[Record]) -> tuple[Cost, ...]:
    """The mean speed and the most memory of some records, for each hardware."""
    by_hardware: dict[str, list[Measurements]] = defaultdict(list)
    rates: dict[str, list[float]] = defaultdict(list)
    for record in records:
        hardware = hardware_of(record)
        by_hardware[hardware].append(record.measured)
        if record.measured.steps_per_second:
            rates[hardware].append(record.measured.steps_per_second * len(record.seeds))
    return tuple(
        Cost(
            hardware,
            float(np.mean(rates[hardware])) if rates[hardware] else None,
            max((size for one in measured for size in one.memory_bytes.values()), default=0) or None,
        )
        for hardware, measured in sorted(by_hardware.items())
    )


def hardware_of(record: Record) -> str:
    """The name of a record's device; for a CPU followed by its number of cores."""
    facts = record.measured.hardware
    name = f"{facts.get('cpu')}, {facts.get('cores')} cores" if facts.get("platform") == "cpu" else facts.get("device")
    return str(name)[:80]


def right_answers(row: Row) -> RightAnswers:
    """Which test examples each seed answered right. Seeds without stored predictions are left out."""
    right: dict[int, np.ndarray] = {}
    for record in row.records:
        labels = record.task.test_labels
        for seed in record.seeds:
            if labels and seed.predictions:
                right.setdefault(seed.seed, unpack(seed.predictions, "predictions") == unpack(labels, "labels"))
    return right


class Paired(NamedTuple):
    """Two rows on the seeds that both have.

    Attributes:
      by_seed: the differences of accuracy, ours minus theirs, as shares.
      p: the p-value of `statistics.paired`.
    """

    by_seed: list[float]
    p: float


def paired(ours: RightAnswers, theirs: RightAnswers) -> Paired | None:
    """The paired comparison of two rows on their test examples; None if they have no seed in common."""
    both = sorted(ours.keys() & theirs.keys())
    if not both:
        return None
    a, b = (np.stack([right[seed] for seed in both]) for right in (ours, theirs))
    return Paired((a.mean(1) - b.mean(1)).tolist(), statistics.paired(a, b))


def compared(rows: Sequence[Row], base: Row | None) -> list[Row]:
    """The rows, each with its difference from the base. The p-values are corrected for the number of rows."""
    if base is None:
        return [*rows]
    theirs = right_answers(base)
    differences: dict[int, VersusReference] = {}
    for number, row in enumerate(rows):
        ours = {} if row is base else right_answers(row)
        if pair := paired(ours, theirs):
            differences[number] = VersusReference(float(np.mean(pair.by_seed)), pair.p, len(pair.by_seed))
    corrected = statistics.holm([difference.p for difference in differences.values()])
    for number, p in zip(differences, corrected):
        differences[number] = differences[number]._replace(p=round(p, 6))  # the last bits depend on the hardware
    return [dataclasses.replace(row, versus=differences.get(number)) for number, row in enumerate(rows)]


def overview_of(protocol: str, tables: Sequence[Table]) -> Overview:
    """The overview of a protocol. If a task has several sets of data, the one with the most rows is taken."""
    chosen: dict[str, Table] = {}
    for table in sorted(tables, key=lambda table: (-len(table.rows), table.version, table.data)):
        chosen.setdefault(table.task, table)
    columns = sorted(chosen.values(), key=place)
    cells: dict[tuple[str, ...], dict[str, Row]] = defaultdict(dict)
    for table in columns:
        for row in sorted(table.rows, key=lambda row: -row.seeds):
            if not row.breaches:
                cells[row.key].setdefault(table.task, row)
    complete = [key for key in sorted(cells) if all(table.task in cells[key] for table in columns)]
    means = [[score(cells[key][table.task]) for table in columns] for key in complete]
    points = statistics.borda(np.array(means)).tolist() if len(complete) > 1 else []
    ranked = dict(zip(complete, zip(points, statistics.ranks(points))))
    lines = []
    for key, by_task in cells.items():
        own, rank = ranked.get(key, (None, None))
        lines.append(Line(key, key[0], by_task, average(by_task, FIVE), average(by_task, SIX), own, rank))
    lines.sort(key=lambda line: (-(line.five or -1), -(line.points if line.points is not None else -1), line.key))
    return Overview(protocol, columns[0].rules, tuple(columns), tuple(lines))


def score(row: Row) -> float:
    """The mean accuracy of a row as it counts in averages and ranks, as a share.

    A seed that diverged counts the floor. If the task defines what an unlearnt seed counts, each seed that diverged or
    learnt nothing counts that instead.
    """
    floor, unlearnt = row.task.floor.test, row.task.unlearnt
    if unlearnt is not None:
        examples = row.task.examples.test
        learnt = [share for share in row.accuracy.values() if statistics.above_floor(share, examples, floor)]
        return (sum(learnt) + unlearnt * (row.seeds - len(learnt))) / row.seeds if row.seeds else unlearnt
    return (sum(row.accuracy.values()) + floor * row.diverged) / row.seeds if row.seeds else floor


def average(cells: Mapping[str, Row], tasks: Sequence[str]) -> float | None:
    """The mean score over some tasks; None if one is missing."""
    return float(np.mean([score(cells[task]) for task in tasks])) if all(task in cells for task in tasks) else None
