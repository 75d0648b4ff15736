"""A row of the leaderboard: a variant in one table, with accuracy, cost, and the difference from the reference row."""

import dataclasses
import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from lra.leaderboard import statistics
from lra.leaderboard.predictions import by_example, unpack
from lra.leaderboard.record import Record, TaskInfo
from lra.leaderboard.statistics import Interval
from lra.leaderboard.sweeps import Sweep, hardware_of


class RightAnswers(NamedTuple):
    """The right answers of a row.

    Attributes:
      by_seed: how many labels of each test example were predicted; one at most, unless tokens have labels.
      labels: how many labels each test example has.
    """

    by_seed: dict[int, Int[np.ndarray, " examples"]]
    labels: Int[np.ndarray, " examples"]

    @property
    def total(self) -> int:
        return int(self.labels.sum())


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
    """What training costs in one sweep; None where it was not measured.

    Attributes:
      steps_per_second: the mean of `steps_per_second` over the runs.
      memory: the most bytes that a train step of all seeds took.
      hardware, since: the sweep.
      others: the largest share of the cores that other programs took while a run was timed; 0 where that is not known.
    """

    hardware: str
    steps_per_second: float | None
    memory: int | None
    since: str
    others: float = 0.0

    @property
    def sweep(self) -> Sweep:
        return Sweep(self.hardware, self.since)


@dataclasses.dataclass(frozen=True)
class Row:
    """A variant in one table. All its records are merged.

    Attributes:
      key: identifies the variant across tasks: label, version, hash of its source, and the machine if there is a row
        for each.
      label: the name of the variant, with what is not its protocol's.
      counted: those of the records whose answers count. For a seed that several have, the first one counts.
      runs: the names of the records.
      accuracy: the accuracy on the full test split as a share, by seed.
      diverged: the number of seeds that diverged.
      learnt: the number of seeds that are above the floor by more than luck.
      above_floor: whether the mean accuracy is above the floor by more than luck.
      parameters: the parameter count of one seed.
      costs: one for each sweep, sorted by hardware and time. Measurements of different sweeps are never averaged.
      breaches: the rules of the track that the row breaks, and `superseded`. A row with breaches is not ranked.
      note: the failures among its runs, in words.
      versus: the difference from the reference row; None for the reference itself, or without common predictions.
      came: whether all its records came with the project.
      rate: its learning rate in words if it was chosen among several; else empty.
      family: the family of the variant; OUTSIDE for one from outside, empty if families are not told.
      superseded: why a later source or version of the variant takes the row's place; empty if none does.
    """

    key: tuple[str, ...]
    label: str
    records: tuple[Record, ...]
    counted: tuple[Record, ...]
    accuracy: Mapping[int, float]
    diverged: int
    learnt: int
    above_floor: bool
    parameters: int
    costs: tuple[Cost, ...]
    breaches: tuple[str, ...]
    note: str
    runs: tuple[str, ...]
    versus: VersusReference | None = None
    came: bool = False
    rate: str = ""
    family: str = ""
    superseded: str = ""

    @property
    def task(self) -> TaskInfo:
        return self.records[0].task

    @property
    def hardware(self) -> tuple[str, ...]:
        return tuple(cost.hardware for cost in self.costs)

    @functools.cached_property
    def interval(self) -> Interval | None:
        return statistics.accuracy_interval([*self.accuracy.values()]) if self.accuracy else None

    @property
    def mean(self) -> float | None:
        return self.interval.mean if self.interval else None

    @property
    def seeds(self) -> int:
        return len(self.accuracy) + self.diverged

    @property
    def few(self) -> bool:
        return self.seeds < statistics.FEW


def row_of(
    key: tuple[str, ...],
    records: Sequence[Record],
    breaches: Iterable[str] = (),
    left_out: Sequence[Record] = (),
    sweeps: Sequence[Sweep] | None = None,
) -> Row:
    """One row from the records of one configuration. Each seed counts once, from the run with the most seeds.

    Args:
      breaches: the rules of the track that the runs break.
      left_out: those of the records whose answers do not count.
      sweeps: the sweep of each record; None takes all that ran on the same hardware as one.
    """
    task = records[0].task
    accuracy: dict[int, float] = {}
    diverged: set[int] = set()
    # a seed has other bits beside other seeds, so that one run must be chosen
    ids = set(map(id, left_out))
    counted = sorted((one for one in records if id(one) not in ids), key=lambda one: (-len(one.seeds), one.run))
    for record in counted:
        for seed in record.seeds:
            if seed.test is not None:
                accuracy.setdefault(seed.seed, seed.test.accuracy)
            else:
                diverged.add(seed.seed)
    above = functools.partial(above_floor, task, accuracy, right_answers(counted))
    notes = [status for status in ("failed", "out of memory") if any(record.status == status for record in records)]
    return Row(
        key=key,
        label=key[0],
        records=tuple(records),
        counted=tuple(counted),
        accuracy=dict(sorted(accuracy.items())),
        diverged=len(diverged - accuracy.keys()),
        learnt=sum(above([seed]) for seed in accuracy),
        above_floor=bool(accuracy) and above([*accuracy]),
        parameters=records[0].parameters,
        costs=costs_of(records, sweeps or [Sweep(hardware_of(record)) for record in records]),
        breaches=tuple(dict.fromkeys(breaches)),
        note="; ".join(notes),
        runs=tuple(record.run for record in records),
    )


def above_floor(task: TaskInfo, accuracy: Mapping[int, float], right: RightAnswers, seeds: Sequence[int]) -> bool:
    """Whether the mean of some seeds is above the floor by more than luck."""
    if right.total > len(right.labels) and right.by_seed.keys() >= {*seeds}:
        means = np.mean([right.by_seed[seed] for seed in seeds], 0)
        return statistics.above_floor_by_example(means, right.labels, task.floor.test)
    return statistics.above_floor(
        float(np.mean([accuracy[seed] for seed in seeds])), task.examples.test, task.floor.test
    )


def costs_of(records: Sequence[Record], sweeps: Sequence[Sweep]) -> tuple[Cost, ...]:
    """The mean speed and the most memory of some records, for each sweep."""
    made: dict[Sweep, list[Record]] = defaultdict(list)
    for record, sweep in zip(records, sweeps):
        made[sweep].append(record)
    costs = []
    for sweep, own in sorted(made.items()):
        rates = [rate for rate in map(steps_per_second, own) if rate]
        most = max((size for record in own for size in record.measured.memory_bytes.values()), default=0)
        others = max(taken_by_others(record) for record in own)
        costs.append(Cost(sweep.hardware, float(np.mean(rates)) if rates else None, most or None, sweep.since, others))
    return tuple(costs)


def steps_per_second(record: Record) -> float | None:
    """The train steps of one seed a second, summed over the seeds of a run, which train together."""
    rate = record.measured.steps_per_second
    return rate * len(record.seeds) if rate else None


def taken_by_others(record: Record) -> float:
    """The share of the cores that other programs took while a run was timed; 0 where that is not known."""
    share = record.measured.hardware.get("others")
    return float(share) if isinstance(share, int | float) else 0.0


def right_answers(records: Iterable[Record]) -> RightAnswers:
    """What each seed answered right. Seeds without stored predictions are left out."""
    right, count = {}, np.zeros(0, int)
    for record in records:
        if not record.task.test_labels:
            continue
        labels = by_example(unpack(record.task.test_labels, "labels"), record.task.examples.test)
        there = labels >= 0
        count = there.reshape(len(labels), -1).sum(1)
        for seed in record.seeds:
            if seed.predictions and seed.seed not in right:
                same = unpack(seed.predictions, "predictions").reshape(labels.shape) == labels
                right[seed.seed] = (same & there).reshape(len(labels), -1).sum(1)
    return RightAnswers(right, count)


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
    both = sorted(ours.by_seed.keys() & theirs.by_seed.keys())
    if not both:
        return None
    a, b = (np.stack([right.by_seed[seed] for seed in both]) for right in (ours, theirs))
    return Paired((a.sum(1) / ours.total - b.sum(1) / theirs.total).tolist(), statistics.paired(a, b))


def compared(rows: Sequence[Row], base: Row | None) -> list[Row]:
    """The rows, each with its difference from the base. The p-values are corrected for the number of rows.

    Rows that are superseded are not compared, and not counted in the correction.
    """
    if base is None:
        return [*rows]
    theirs = right_answers(base.counted)
    differences: dict[int, VersusReference] = {}
    for number, row in enumerate(rows):
        if row is base or row.superseded:
            continue
        if pair := paired(right_answers(row.counted), theirs):
            differences[number] = VersusReference(float(np.mean(pair.by_seed)), pair.p, len(pair.by_seed))
    corrected = statistics.holm([difference.p for difference in differences.values()])
    for number, p in zip(differences, corrected):
        differences[number] = differences[number]._replace(p=round(p, 6))  # the last bits depend on the hardware
    return [dataclasses.replace(row, versus=differences.get(number)) for number, row in enumerate(rows)]


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
