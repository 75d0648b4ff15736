"""Whether one run is better than another, on the same test examples where their predictions were kept."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from lra.errors import UsageError
from lra.leaderboard import statistics
from lra.leaderboard.board import Row, bindings, label, paired, right_answers, row_of
from lra.leaderboard.config import configuration_of
from lra.leaderboard.record import Record
from lra.leaderboard.statistics import ALPHA, Interval

Key = tuple[str, str, str]  # task, protocol, variant; the last two with the bindings given by hand


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Of a run B with a run A of the same task and data.

    Attributes:
      difference: of the mean accuracies, B's less A's, with its interval over seeds; None if a side has no accuracy.
      p: of there being no difference; None if nothing could be tested.
      test: which test that was.
      seeds: how many both sides have, or that one side and the other have.
    """

    a: Row
    b: Row
    difference: Interval | None
    p: float | None
    test: str
    seeds: str

    @property
    def told(self) -> bool:
        """Whether there is a difference that is more than luck."""
        if self.difference is None:
            return bool(self.a.accuracy) != bool(self.b.accuracy)
        return self.p is not None and self.p < ALPHA

    @property
    def worse(self) -> bool:
        return self.told and (self.difference.mean < 0 if self.difference else not self.b.accuracy)

    @property
    def same_hardware(self) -> bool:
        """Whether speed and memory can be compared."""
        return self.a.hardware == self.b.hardware

    @property
    def examples(self) -> int:
        return self.a.records[0].task.examples.test


def row(records: Sequence[Record]) -> Row:
    """Records of one configuration as the leaderboard's tables have them."""
    variant = records[0].variant
    return row_of((label(records[0]), str(variant.version), variant.source_sha256 or ""), records)


def compare(a: Row, b: Row) -> Comparison:
    """The seeds that both have are paired: they saw the same batches.

    Raises:
      UsageError: one failed, or they did not have the same test examples.
    """
    for side, one in (("A", a), ("B", b)):
        if not one.seeds:
            raise UsageError(f"{side} is a run that came to nothing ({one.records[0].status}); run it again")
    ours, theirs = a.records[0].task, b.records[0].task
    if ours.name != theirs.name:
        raise UsageError(f"A ran on {ours.name} and B on {theirs.name}; only runs of one task can be compared")
    if ours.data_sha256 != theirs.data_sha256:
        raise UsageError(
            f"A and B ran on different data of {ours.name} ({ours.data_sha256[:12]} and "
            f"{theirs.data_sha256[:12]}); run one of them again on the other's"
        )
    if pair := paired(right_answers(b), right_answers(a)):
        seeds = count(len(pair.by_seed), "seed")
        return Comparison(a, b, statistics.interval(pair.by_seed), pair.p, "paired", seeds)
    seeds = f"{count(len(a.accuracy), 'seed')} of A, {len(b.accuracy)} of B"
    if min(len(a.accuracy), len(b.accuracy)) > 1:
        difference, p = statistics.welch([*b.accuracy.values()], [*a.accuracy.values()])
        return Comparison(a, b, difference, p, "Welch", seeds)
    if a.accuracy and b.accuracy:
        alone = Interval(float(np.mean([*b.accuracy.values()]) - np.mean([*a.accuracy.values()])), None, None)
        return Comparison(a, b, alone, None, "none", seeds)
    return Comparison(a, b, None, None, "none", seeds)


def pairs(of_a: Iterable[Record], of_b: Iterable[Record]) -> dict[Key, Comparison]:
    """All that two sets of records both have, p-values corrected for the number of comparisons (Holm).

    Raises:
      UsageError: a side has two of one kind, which differ in configuration, version or source, or other data.
    """
    rows_a, rows_b = (rows(records, name) for records, name in ((of_a, "A"), (of_b, "B")))
    compared = {key: compare(rows_a[key], rows_b[key]) for key in sorted(rows_a.keys() & rows_b.keys())}
    tested = [key for key, comparison in compared.items() if comparison.p is not None]
    corrected = statistics.holm([compared[key].p or 0.0 for key in tested])
    return compared | {key: dataclasses.replace(compared[key], p=p) for key, p in zip(tested, corrected)}


def rows(records: Iterable[Record], side: str) -> dict[Key, Row]:
    grouped: dict[Key, list[Record]] = {}
    for record in records:
        if not record.seeds:
            continue  # it failed
        _, other = bindings(record)
        protocol = ", ".join([record.protocol.name, *other])
        same = grouped.setdefault((record.task.name, protocol, label(record)), [])
        if same and configuration_of(record) != configuration_of(same[0]):
            raise UsageError(
                f"{side} has two kinds of {label(record)} on {record.task.name}, protocol {protocol} (runs "
                f"{same[0].run} and {record.run}); move the records of one elsewhere, or name two records"
            )
        same.append(record)
    return {key: row(same) for key, same in grouped.items()}


def sentence(of: Comparison) -> str:
    """What came of a comparison."""
    way = "worse" if of.worse else "better"
    if of.difference is None:
        if not of.told:
            return f"no difference can be told: no seed has a score ({of.seeds})"
        side = "B" if of.worse else "A"
        return f"B is {way} than A: every seed of {side} diverged ({of.seeds} have a score)"
    points = f"{100 * of.difference.mean:+.2f} points"
    if of.p is None:
        return f"no difference can be told ({points}, {of.seeds}): one seed without predictions says too little"
    basis = f"{of.examples:,} examples" if of.test == "paired" else "no common predictions, so Welch's t-test"
    basis = f"p = {of.p:.2g}, {of.seeds}, {basis}"
    if not of.told:
        return f"no difference can be told ({points}, {basis})" + losses(of)
    said = f"B is {way} than A by {points.lstrip('+-')} ({basis})"
    return said + doubt(of.difference) + losses(of)


def doubt(difference: Interval) -> str:
    """What a difference on these examples does not say of other seeds."""
    if difference.low is None or difference.high is None:
        return "; one seed says nothing of others"
    if difference.low <= 0 <= difference.high:
        return "; the interval over seeds contains 0, so other seeds may come out otherwise"
    return ""


def losses(of: Comparison) -> str:
    """The seeds that are not in a comparison because they diverged."""
    sides = (("A", of.a), ("B", of.b))
    return "".join(
        f"; {side.diverged} of {side.seeds} seeds of {name} diverged" for name, side in sides if side.diverged
    )


def summary(comparisons: dict[Key, Comparison]) -> str:
    """What came of many."""
    worse = [" ".join(key) for key, one in comparisons.items() if one.worse]
    better = [" ".join(key) for key, one in comparisons.items() if one.told and not one.worse]
    names = lambda keys: f" ({', '.join(keys)})" if keys else ""
    return (
        f"of {count(len(comparisons), 'pair')}, B is better than A in {len(better)}{names(better)}, worse in "
        f"{len(worse)}{names(worse)}; p < {ALPHA} after Holm's correction"
    )


def count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
