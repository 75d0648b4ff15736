"""Axes: from numbers to positions, and round numbers for their ticks."""

import dataclasses
import math
from collections.abc import Sequence
from functools import cached_property


@dataclasses.dataclass(frozen=True)
class Scale:
    """The positions of numbers on an axis, linear or logarithmic.

    Attributes:
      low, high: the numbers at the ends.
      start, end: the positions of the ends.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        return self.start + (self.measure(value) - self.measure(self.low)) * self.unit

    @cached_property
    def unit(self) -> float:
        return (self.end - self.start) / (self.measure(self.high) - self.measure(self.low))

    def measure(self, value: float) -> float:
        return math.log(max(value, 1e-300)) if self.log else value

    def ticks(self) -> list[float]:
        return log_ticks(self.low, self.high) if self.log else linear_ticks(self.low, self.high)


def around(values: Sequence[float], start: float, end: float, log: bool = False) -> Scale:
    """A scale that has room for all values and a margin."""
    low, high = min(values), max(values)
    if log:
        spread = max((high / low) ** 0.08, 1.1)
        return Scale(low / spread, high * spread, start, end, True)
    # an axis that is shorter has ticks that are the same number, or the same text
    least = 1e-4 * max(abs(low), abs(high))
    room = max(0.06 * (high - low) or 0.1 * abs(high) or 1.0, least, 1e-9)
    return Scale(low - room, high + room, start, end)


def linear_ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, at least two."""
    raw = (high - low) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    ticks = [step * place for place in range(first, math.floor(high / step + 1e-9) + 1)]
    return ticks if len(ticks) > 1 else linear_ticks(low, high, 2 * about)


def log_ticks(low: float, high: float) -> list[float]:
    """At least two and at most eight round numbers.

    They are 1, 2 and 5 times powers of ten; if these are too many, some powers of ten; if too few, linear ticks.
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    nice = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    inside = [value for value in nice if low <= value <= high]
    if len(inside) < 3:
        return linear_ticks(low, high, 4)
    if len(inside) <= 8:
        return inside
    tens = [10.0**power for power in powers if low <= 10.0**power <= high]
    return tens[:: -(-len(tens) // 8)]


def shown(value: float) -> str:
    """The text of a tick."""
    return f"{value:,.0f}" if abs(value) >= 1e5 else f"{value:,.6g}"
