"""Whether one run is better than another. The test is paired by example if both runs have predictions."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from lra.errors import UsageError, UserError
from lra.leaderboard import statistics
from lra.leaderboard.board import label
from lra.leaderboard.config import comparable, configuration_of, values
from lra.leaderboard.duplicates import contradicting
from lra.leaderboard.record import ENVIRONMENT, Record
from lra.leaderboard.row import Row, paired, right_answers, row_of
from lra.leaderboard.statistics import ALPHA, Interval
from lra.leaderboard.store import shortened
from lra.leaderboard.sweeps import sweeps_of
from lra.leaderboard.tracks import Changes, changes
from lra.leaderboard.tuning import rates_of
from lra.progress import counted
from lra.tracks import tracks

SHOWN = 3  # the most differing settings that are named
Key = tuple[str, str, str]  # task, protocol with other bindings, variant with its options


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The comparison of a run B with a run A of the same task and data.

    Attributes:
      difference: the mean accuracy of B minus that of A as a share, with its interval over seeds; None if a side has
        no accuracy.
      p: the p-value of no difference; None if there was no test.
      test: the name of the test: "paired", "Welch" or "none".
      seeds: the number of common seeds, or the numbers of both sides, in words.
    """

    a: Row
    b: Row
    difference: Interval | None
    p: float | None
    test: str
    seeds: str

    @property
    def significant(self) -> bool:
        """Whether the difference is more than luck."""
        if self.difference is None:
            return bool(self.a.accuracy) != bool(self.b.accuracy)
        return self.p is not None and self.p < ALPHA

    @property
    def worse(self) -> bool:
        """Whether B is significantly worse than A."""
        return self.significant and (self.difference.mean < 0 if self.difference else not self.b.accuracy)

    @property
    def same_hardware(self) -> bool:
        """Whether both ran on the same hardware, so that memory is comparable."""
        return self.a.hardware == self.b.hardware

    @property
    def same_sweep(self) -> bool:
        """Whether one machine ran both without a long pause, so that speed is comparable too."""
        sweeps = sweeps_of([*self.a.records, *self.b.records])
        return {*sweeps[: len(self.a.records)]} == {*sweeps[len(self.a.records) :]}

    @property
    def examples(self) -> int:
        """The number of test examples."""
        return self.a.records[0].task.examples.test


def row(records: Sequence[Record]) -> Row:
    """The leaderboard row of records that share one configuration.

    Raises:
      UsageError: records of one run have different answers.
    """
    if contradicting(records):
        runs = ", ".join(dict.fromkeys(record.run for record in contradicting(records)))
        raise UsageError(f"there are records of run {runs} with different answers; name the record that is meant")
    variant = records[0].variant
    return row_of((named(records[0]), str(variant.version), variant.source_sha256 or ""), records)


def named(record: Record) -> str:
    """The label of a record's row."""
    return label(record, changes_of(record))


def changes_of(record: Record) -> Changes:
    """The parameters of a record that are not its protocol's."""
    return changes(record, tracks().get(record.protocol.name))


def compare(a: Row, b: Row) -> Comparison:
    """The comparison of two rows. Seeds that both rows have are paired, since they saw the same batches.

    Raises:
      UsageError: a run failed, or the rows have different test examples.
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
    if pair := paired(right_answers(b.counted), right_answers(a.counted)):
        seeds = counted(len(pair.by_seed), "seed")
        return Comparison(a, b, statistics.interval(pair.by_seed), pair.p, "paired", seeds)
    seeds = f"{counted(len(a.accuracy), 'seed')} of A, {len(b.accuracy)} of B"
    if min(len(a.accuracy), len(b.accuracy)) > 1:
        difference, p = statistics.welch([*b.accuracy.values()], [*a.accuracy.values()])
        return Comparison(a, b, difference, p, "Welch", seeds)
    if a.accuracy and b.accuracy:
        alone = Interval(float(np.mean([*b.accuracy.values()]) - np.mean([*a.accuracy.values()])), None, None)
        return Comparison(a, b, alone, None, "none", seeds)
    return Comparison(a, b, None, None, "none", seeds)


def pairs(of_a: Iterable[Record], of_b: Iterable[Record]) -> dict[Key, Comparison]:
    """The comparisons of all keys that two sets of records have in common, with p-values corrected by Holm's method.

    Raises:
      UsageError: the records of a key differ in configuration, version, source or data, or as `compare`.
    """
    rows_a, rows_b = (rows(records, name) for records, name in ((of_a, "A"), (of_b, "B")))
    compared = {key: compare(rows_a[key], rows_b[key]) for key in sorted(rows_a.keys() & rows_b.keys())}
    tested = [key for key, comparison in compared.items() if comparison.p is not None]
    corrected = statistics.holm([compared[key].p or 0.0 for key in tested])
    return compared | {key: dataclasses.replace(compared[key], p=p) for key, p in zip(tested, corrected)}


def rows(records: Iterable[Record], side: str) -> dict[Key, Row]:
    """The row of each key. Records of failed runs, and of learning rates that were not chosen, are left out."""
    grouped: dict[Key, list[Record]] = {}
    records = [*records]
    for record, rates in zip(records, rates_of(records, tracks())):
        if not record.seeds or (rates and rates.own != rates.chosen):
            continue
        protocol = ", ".join([record.protocol.name, *changes_of(record).others])
        same = grouped.setdefault((record.task.name, protocol, named(record)), [])
        if same and configuration_of(record) != configuration_of(same[0]):
            raise UsageError(
                f"{side} has two kinds of {named(record)} on {record.task.name}, protocol {protocol} (runs "
                f"{same[0].run} and {record.run}); move the records of one elsewhere, or name two records"
            )
        same.append(record)
    return {key: row(same) for key, same in grouped.items()}


def sentence(of: Comparison) -> str:
    """The result of a comparison in one sentence."""
    way = "worse" if of.worse else "better"
    if of.difference is None:
        if not of.significant:
            return f"no difference can be told: no seed has a score ({of.seeds})"
        side = "B" if of.worse else "A"
        return f"B is {way} than A: every seed of {side} diverged ({of.seeds} have a score)"
    points = f"{100 * of.difference.mean:+.2f} points"
    if of.p is None:
        why = f"with {unpaired(of)}, one seed of a side says too little; run both with the same --seeds"
        return f"no difference can be told ({points}, {of.seeds}): {why}"
    basis = f"{of.examples:,} examples" if of.test == "paired" else f"{unpaired(of)}, so Welch's t-test"
    basis = f"p = {of.p:.2g}, {of.seeds}, {basis}"
    if not of.significant:
        return f"no difference can be told ({points}, {basis})" + losses(of)
    text = f"B is {way} than A by {points.lstrip('+-')} ({basis})"
    return text + doubt(of.difference) + losses(of)


def unpaired(of: Comparison) -> str:
    """Why no seed of A is paired with one of B."""
    return "no common predictions" if of.a.accuracy.keys() & of.b.accuracy.keys() else "no common seed"


def doubt(difference: Interval) -> str:
    """A reservation if other seeds might give another result; else empty."""
    if difference.low is None or difference.high is None:
        return "; one seed says nothing of others"
    if difference.low <= 0 <= difference.high:
        return "; the interval over seeds contains 0, so other seeds may come out otherwise"
    return ""


def settings_apart(a: Row, b: Row) -> dict[str, tuple[str | None, str | None]]:
    """The values in which two runs differ besides their variants, by the name of the parameter; None where not set.

    What the protocol itself gives the two variants is left out, since it is the protocol's rule.
    """
    ours, theirs = a.records[0], b.records[0]
    try:
        first, second = values(ours), values(theirs)
    except UserError:  # a configuration that cannot be read
        return {}
    own = (f"{ENVIRONMENT}.", *(f"{record.variant.name}." for record in (ours, theirs)))
    names = {name for name in first.keys() | second.keys() if not name.startswith(own)}
    apart: dict[str, tuple[str | None, str | None]] = {}
    if ours.protocol.name != theirs.protocol.name:
        apart["protocol"] = (ours.protocol.name, theirs.protocol.name)
    else:
        lines = [line for record in (ours, theirs) for line in changes_of(record).others]
        names &= {line.partition(" = ")[0] for line in lines}
    for name in sorted(names):
        if comparable(first.get(name)) != comparable(second.get(name)):
            apart[name] = (first.get(name), second.get(name))
    return apart


def caution(a: Row, b: Row) -> str:
    """The settings in which two runs differ besides their variants in one sentence; empty if in none."""
    apart = settings_apart(a, b)
    if not apart:
        return ""
    words = [f"{name} {of_a or 'not set'} and {of_b or 'not set'}" for name, (of_a, of_b) in apart.items()]
    return f"A and B differ in more than the variant: {'; '.join(shortened(words, SHOWN))}"


def losses(of: Comparison) -> str:
    """How many seeds are left out of a comparison because they diverged; empty if none."""
    sides = (("A", of.a), ("B", of.b))
    return "".join(
        f"; {side.diverged} of {side.seeds} seeds of {name} diverged" for name, side in sides if side.diverged
    )


def summary(comparisons: dict[Key, Comparison]) -> str:
    """The result of several comparisons in one sentence."""
    worse = [" ".join(key) for key, one in comparisons.items() if one.worse]
    better = [" ".join(key) for key, one in comparisons.items() if one.significant and not one.worse]
    names = lambda keys: f" ({', '.join(keys)})" if keys else ""
    return (
        f"of {counted(len(comparisons), 'pair')}, B is better than A in {len(better)}{names(better)}, worse in "
        f"{len(worse)}{names(worse)}; p < {ALPHA} after Holm's correction"
    )
