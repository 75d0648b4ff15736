"""Several records of one run: of those that agree one is enough; those that do not agree are told apart by machine."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence

import msgspec

from lra.leaderboard.config import configuration_of
from lra.leaderboard.record import Record


def run_key(record: Record) -> Hashable:
    """What two records of one run have in common. A record of before schema 3 has another name than a newer one."""
    seeds = tuple(seed.seed for seed in record.seeds)
    return configuration_of(record)._replace(seeds=seeds) if seeds else record.run  # a run that failed has no seeds


def agree(a: Record, b: Record) -> bool:
    """Whether two records of one run have the same scores, and the same predictions where both have any."""
    scores = lambda record: [(seed.seed, seed.status, seed.test and seed.test.accuracy) for seed in record.seeds]
    return scores(a) == scores(b) and all(
        one.predictions == other.predictions or None in (one.predictions, other.predictions)
        for one, other in zip(a.seeds, b.seeds)
    )


def without_repeats(records: Iterable[Record]) -> list[Record]:
    """The records, sorted by run. Of those of one run that agree, one remains.

    It is one with predictions if there is any, and among these the newest. The order of the records does not matter.
    """
    by_run: dict[Hashable, list[Record]] = defaultdict(list)
    order = lambda one: (has_predictions(one), one.measured.finished_at, msgspec.json.encode(one, order="sorted"))
    for record in sorted(records, key=order, reverse=True):
        kept = by_run[run_key(record)]
        if not any(agree(record, other) for other in kept):
            kept.append(record)
    return sorted((one for kept in by_run.values() for one in kept), key=lambda one: (one.run, order(one)))


def has_predictions(record: Record) -> bool:
    return any(seed.predictions for seed in record.seeds)


def contradicting(records: Sequence[Record]) -> list[Record]:
    """The records of runs that several of the records are of. The records must be without repeats."""
    by_run: dict[Hashable, list[Record]] = defaultdict(list)
    for record in records:
        by_run[run_key(record)].append(record)
    return [record for same in by_run.values() if len(same) > 1 for record in same]
