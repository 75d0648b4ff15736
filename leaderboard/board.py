"""What tables say, as numbers: rows from records, one table for each task, data and protocol, and an overview of tasks.

A pure function of the records, whatever order or folder they come from.
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
RightAnswers = dict[int, Bool[np.ndarray, " examples"]]  # by seed: which test examples it got right


class VersusReference(NamedTuple):
    """A row's comparison with the reference row, on the test examples and seeds that both have.

    Attributes:
      difference: of the accuracies, ours less theirs.
      p: of `statistics.paired`, corrected for the number of rows of the table (Holm).
    """

    difference: float
    p: float
    seeds: int


class Cost(NamedTuple):
    """What training costs on one kind of hardware; None where it was not measured.

    Attributes:
      hardware: a device's name; a CPU's has the number of cores behind it.
      steps_per_second: steps of one seed; the seeds of a run train together and each one's steps count.
      memory: bytes of a training step of all seeds together, at most.
    """

    hardware: str
    steps_per_second: float | None
    memory: int | None


@dataclasses.dataclass(frozen=True)
class Row:
    """A variant in one table, all its records merged.

    Attributes:
      key: what tells it from others on other tasks: name, own bindings, version, hash of its source.
      label: its name, with its own bindings.
      accuracy: of each seed on the full test split, by seed.
      learnt: how many seeds are better than the floor by more than luck.
      above_floor: whether the mean is.
      costs: of each hardware, by its name: what was measured on two is never put together.
      breaches: rules of the track that it has not kept to; such a row is in no ranking.
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
    comparison: VersusReference | None = None

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
    """A record, held to the rules of its protocol's track."""

    record: Record
    breaches: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows that may be compared: one task, one set of data, one protocol; ranked ones first, best first.

    Attributes:
      rules: of the protocol's track, in words; empty if it has none.
      reference: label of the row that the others are compared with; empty if there is none.
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
      cells: its rows by task.
      five: mean accuracy of LRA's five tasks without Path-X; None if one is missing.
      six: with Path-X, each of whose seeds that learnt nothing counts what its records say, 50 %.
      points, rank: Borda's, over the tasks of the overview; None if a task is missing.
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
    """All tasks of a protocol side by side, by average, then by Borda's points, then by name."""

    protocol: str
    rules: str
    tables: tuple[Table, ...]
    lines: tuple[Line, ...]


@dataclasses.dataclass(frozen=True)
class Board:
    """
    Attributes:
      breaches: by run, the rules of its track that a record has not kept to.
    """

    tables: tuple[Table, ...]
    overviews: tuple[Overview, ...]
    breaches: Mapping[str, tuple[str, ...]]


def make_board(records: Iterable[Record], tracks: Mapping[str, Track], reference: str = REFERENCE) -> Board:
    """The tables of some records, in a fixed order.

    Bindings given by hand that touch the variant itself make a row of their own; others make the protocol another
    one, and so a table of its own.

    Args:
      tracks: by the name of the protocol, in the order of the tables; other protocols come after them.
      reference: the variant, or the label of the row, with which all others are compared.
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
    """Those given by hand: of the variant itself, without its name, and all others."""
    prefix = f"{record.variant.name}."
    lines = record.protocol.overrides
    own = [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
    return own, [line for line in lines if not line.startswith(prefix)]


def label(record: Record) -> str:
    own, _ = bindings(record)
    return record.variant.name + (f" ({', '.join(own)})" if own else "")


def place(table: Table) -> tuple[int, str]:
    """Of a table's task among LRA's, in their customary order; a stand-in stands with the task it is for."""
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
    """One row from the records of one configuration with different seeds; a seed counts once.

    Args:
      breaches: rules of the track that the runs have not kept to.
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
    """The mean speed and the most memory of some records, of each hardware by itself."""
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
    """A device's name; a CPU's has the number of cores behind it."""
    facts = record.measured.hardware
    name = f"{facts.get('cpu')}, {facts.get('cores')} cores" if facts.get("platform") == "cpu" else facts.get("device")
    return str(name)[:80]


def right_answers(row: Row) -> RightAnswers:
    """Of each seed, which test examples it got right; of those seeds whose predictions were kept."""
    right: dict[int, np.ndarray] = {}
    for record in row.records:
        labels = record.task.test_labels
        for seed in record.seeds:
            if labels and seed.predictions:
                right.setdefault(seed.seed, unpack(seed.predictions, "predictions") == unpack(labels, "labels"))
    return right


class Paired(NamedTuple):
    """Two rows on the seeds that both have: differences of accuracy, ours less theirs, and `statistics.paired`."""

    by_seed: list[float]
    p: float


def paired(ours: RightAnswers, theirs: RightAnswers) -> Paired | None:
    """What the test examples say of two rows; None if they have no seed in common."""
    both = sorted(ours.keys() & theirs.keys())
    if not both:
        return None
    a, b = (np.stack([right[seed] for seed in both]) for right in (ours, theirs))
    return Paired((a.mean(1) - b.mean(1)).tolist(), statistics.paired(a, b))


def compared(rows: Sequence[Row], base: Row | None) -> list[Row]:
    """The rows with their comparison with the base; p-values are corrected for the number of rows compared."""
    if base is None:
        return [*rows]
    theirs = right_answers(base)
    versus: dict[int, VersusReference] = {}
    for number, row in enumerate(rows):
        ours = {} if row is base else right_answers(row)
        if pair := paired(ours, theirs):
            versus[number] = VersusReference(float(np.mean(pair.by_seed)), pair.p, len(pair.by_seed))
    corrected = statistics.holm([comparison.p for comparison in versus.values()])
    for number, p in zip(versus, corrected):
        versus[number] = versus[number]._replace(p=round(p, 6))  # the last bits differ from machine to machine
    return [dataclasses.replace(row, comparison=versus.get(number)) for number, row in enumerate(rows)]


def overview_of(protocol: str, tables: Sequence[Table]) -> Overview:
    """Of several sets of data of one task, the one with the most rows is taken."""
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
    """A row's mean as it counts in averages and ranks: a seed that diverged gave no better answers than the floor.
    Where the task says what an unlearnt seed counts, this holds for one that diverged or learnt nothing.
    """
    floor, unlearnt = row.task.floor.test, row.task.unlearnt
    if unlearnt is not None:
        examples = row.task.examples.test
        learnt = [share for share in row.accuracy.values() if statistics.above_floor(share, examples, floor)]
        return (sum(learnt) + unlearnt * (row.seeds - len(learnt))) / row.seeds if row.seeds else unlearnt
    return (sum(row.accuracy.values()) + floor * row.diverged) / row.seeds if row.seeds else floor


def average(cells: Mapping[str, Row], tasks: Sequence[str]) -> float | None:
    return float(np.mean([score(cells[task]) for task in tasks])) if all(task in cells for task in tasks) else None
