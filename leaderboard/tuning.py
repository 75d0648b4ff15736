"""The learning rate of a row: of those that a protocol lets a variant have, the one with the best validation accuracy.

The test split has no say in it. A rate with fewer seeds than another is not chosen.
"""

import json
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lra.errors import UserError
from lra.leaderboard.config import comparable, configuration_of, values
from lra.leaderboard.record import Record
from lra.leaderboard.tracks import LEARNING_RATE, Track


class Rates(NamedTuple):
    """The learning rate of a record among those of the same configuration otherwise.

    Attributes:
      own: the record's.
      chosen: the one that counts.
      tried: all, ascending.
    """

    own: float
    chosen: float
    tried: tuple[float, ...]

    @property
    def words(self) -> str:
        """The chosen one, and what it was chosen from.

        >>> Rates(0.003, 0.003, (0.001, 0.003)).words
        '0.003 (of 0.001, 0.003)'
        """
        return (
            f"{self.chosen:g} ({'of ' + ', '.join(f'{rate:g}' for rate in self.tried) if self.tried[1:] else 'alone'})"
        )


def rates_of(records: Sequence[Record], tracks: Mapping[str, Track]) -> list[Rates | None]:
    """The learning rates of each record; None where the protocol lets no variant choose."""
    own = [rate_of(record, tracks.get(record.protocol.name)) for record in records]
    alike: dict[Hashable, dict[float, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record, rate in zip(records, own):
        if rate is not None:
            alike[without_rate(record)][rate].append(record)
    result: list[Rates | None] = []
    for record, rate in zip(records, own):
        tried = alike[without_rate(record)] if rate is not None else {}
        chosen = max(sorted(tried), key=lambda one: merit(tried[one]), default=0.0)
        result.append(None if rate is None else Rates(rate, chosen, tuple(sorted(tried))))
    return result


def rate_of(record: Record, track: Track | None) -> float | None:
    """The learning rate of a record if it is one of those that its protocol allows."""
    try:
        text = values(record).get(LEARNING_RATE)
    except UserError:  # a configuration that cannot be read; the run is not ranked
        return None
    rates = track.learning_rates if track else ()
    return next((rate for rate in rates if comparable(repr(rate)) == comparable(text)), None)


def without_rate(record: Record) -> Hashable:
    """All that decides the outcome of a record's run besides its learning rate and seeds."""
    others = {name: comparable(value) for name, value in values(record).items() if name != LEARNING_RATE}
    return configuration_of(record)._replace(config_sha256=json.dumps(others, sort_keys=True))


def merit(records: Sequence[Record]) -> tuple[int, float]:
    """The number of seeds, and their mean accuracy on the validation split; a seed that diverged has 0."""
    found = {seed.seed: seed.validation.accuracy if seed.validation else 0.0 for one in records for seed in one.seeds}
    return len(found), float(np.mean([*found.values()])) if found else 0.0
