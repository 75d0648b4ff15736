"""How time and memory grow with the length: the fitted power, and the length from which one model beats another."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from scipy import special


class Fit(NamedTuple):
    """The power p of the length L in a cost c L^p, by least squares of logarithms.

    Attributes:
      error: the standard error of the power; None for two lengths, which a power always fits.
      low, high: the 95 % interval of the power; None where there is no error.
    """

    power: float
    error: float | None = None
    low: float | None = None
    high: float | None = None


class Versus(NamedTuple):
    """How much better a model is than the reference at a length.

    Attributes:
      ratio: the cost of the reference as a multiple of the model's: infinite where the reference alone has ended, 0
        where the model alone has.
      spread: a ratio that differs from 1 by no more than this is a tie.
    """

    length: int
    ratio: float
    spread: float = 0.0


class Crossing(NamedTuple):
    """From which length on a model beats the reference.

    Attributes:
      length: the length; None if it loses or ties at the longest length that was measured.
      first: whether it wins at every length that was measured, so that it may win at shorter ones too.
    """

    length: float | None
    first: bool = False


def fit(lengths: Sequence[int], costs: Sequence[float]) -> Fit | None:
    """The power of a cost of one example; None for fewer than two lengths."""
    count = len(lengths)
    if count < 2:
        return None
    x, y = ([math.log(value) for value in values] for values in (lengths, costs))
    middle, level = sum(x) / count, sum(y) / count
    spread = sum((a - middle) ** 2 for a in x)
    power = sum((a - middle) * (b - level) for a, b in zip(x, y)) / spread
    if count == 2:
        return Fit(power)
    squares = sum((b - level - power * (a - middle)) ** 2 for a, b in zip(x, y))
    error = math.sqrt(squares / (count - 2) / spread)
    half = error * float(special.stdtrit(count - 2, 0.975))
    return Fit(power, error, power - half, power + half)


def crossing(against: Sequence[Versus]) -> Crossing:
    """From which length on a model beats the reference at all lengths that were measured.

    Between the last length without a win and the next, the length is interpolated where the ratio is 1, on logarithmic
    axes. Where it is above 1 at both, or unknown at one, the length is the next.
    """
    ordered = sorted(against)
    wins = [one.ratio > 1 + one.spread for one in ordered]
    if not wins or not wins[-1]:
        return Crossing(None)
    place = len(wins) - wins[::-1].index(False) if False in wins else 0
    if place == 0:
        return Crossing(ordered[0].length, first=True)
    before, after = ordered[place - 1 : place + 1]
    if not (0 < before.ratio <= 1 and math.isfinite(after.ratio)):
        return Crossing(after.length)
    low, high = math.log(before.ratio), math.log(after.ratio)
    return Crossing(before.length * (after.length / before.length) ** (-low / (high - low)))
