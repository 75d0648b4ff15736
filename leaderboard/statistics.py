"""What a table may claim: intervals over seeds, tests on the same examples, corrections, ranks."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import special

CONFIDENCE = 0.95
ALPHA = 0.05  # of a difference, after correction
# of having learnt something: one in a thousand untrained seeds may pass for one that has
FLOOR_ALPHA = 0.001
FEW = 3  # seeds below which a row is marked


class Interval(NamedTuple):
    """A mean with its confidence interval; no limits for fewer than two values."""

    mean: float
    low: float | None
    high: float | None


def interval(values: Sequence[float]) -> Interval:
    """The mean and Student's 95 % confidence interval of it, mean -+ t(0.975, n - 1) s / sqrt(n).

    Raises:
      ValueError: there are no values.
    """
    if not len(values):
        raise ValueError("no values")
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, None, None)
    half = special.stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2) * np.std(values, ddof=1) / len(values) ** 0.5
    return Interval(mean, float(mean - half), float(mean + half))


def above_floor(accuracy: float, examples: int, floor: float) -> bool:
    """Whether answers right that often are more than luck: P(X >= right) < 0.001 for X ~ Binomial(examples, floor)."""
    right = round(accuracy * examples)
    if right <= 0 or floor >= 1:
        return False
    return bool(special.bdtrc(right - 1, examples, max(floor, 1e-12)) < FLOOR_ALPHA)


def paired(ours: Bool[np.ndarray, "seeds examples"], theirs: Bool[np.ndarray, "seeds examples"]) -> float:
    """The p-value, two-sided and exact, of two models' right answers to the same examples being exchangeable.

    An example's difference d is the number of seeds in which only we are right less that in which only they are. If
    it does not matter which model is which, its sign is a coin's; the statistic is the sum of all d. The seeds of one
    example stay together: they are no independent examples. For one seed this is McNemar's exact test (Psychometrika
    12, 1947); for several, Fisher's permutation test of paired differences with all sign changes counted, not drawn.

    It says whether these trained models differ on examples like these; what other seeds would do, the interval says.

    Raises:
      ValueError: the shapes differ.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"{ours.shape} and {theirs.shape} are not the same seeds and examples")
    difference = ours.sum(0, dtype=int) - theirs.sum(0, dtype=int)
    sizes = np.bincount(np.abs(difference), minlength=1)
    # the distribution of the sum, by convolution: n differences of size k make k (2 Binomial(n, 1/2) - n)
    distribution = np.ones(1)
    for k, n in enumerate(sizes):
        if k and n:
            heads = np.zeros(2 * k * n + 1)
            heads[:: 2 * k] = binomial_half(n)
            distribution = convolve(distribution, heads)
    far = abs(int(difference.sum()))
    middle = len(distribution) // 2
    return float(min(1.0, 2 * distribution[middle + far :].sum() if far else 1.0))


def welch(ours: Sequence[float], theirs: Sequence[float]) -> tuple[Interval, float]:
    """The difference of two means with its 95 % confidence interval, and the two-sided p-value of its being none.

    Welch's t-test (Biometrika 34, 1947), for values that are not paired and whose variances differ.

    Raises:
      ValueError: there are fewer than two values on a side.
    """
    if min(len(ours), len(theirs)) < 2:
        raise ValueError("fewer than two values")
    difference = float(np.mean(ours) - np.mean(theirs))
    parts = [float(np.var(values, ddof=1)) / len(values) for values in (ours, theirs)]
    error = sum(parts) ** 0.5
    if not error:
        return Interval(difference, difference, difference), float(difference == 0)
    freedom = error**4 / sum(part**2 / (len(values) - 1) for part, values in zip(parts, (ours, theirs)))
    half = float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    p = 2 * float(special.stdtr(freedom, -abs(difference) / error))
    return Interval(difference, difference - half, difference + half), p


def binomial_half(n: int) -> Float[np.ndarray, " n+1"]:
    """P(X = 0..n) for X ~ Binomial(n, 1/2)."""
    k = np.arange(n + 1)
    return np.exp(special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1) - n * np.log(2))


def convolve(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " m"]) -> Float[np.ndarray, " n+m-1"]:
    """Through the Fourier transform; what rounding leaves below zero is cut."""
    if min(len(a), len(b)) < 64:
        return np.convolve(a, b)
    size = 1 << (len(a) + len(b) - 2).bit_length()
    return np.maximum(np.fft.irfft(np.fft.rfft(a, size) * np.fft.rfft(b, size), size)[: len(a) + len(b) - 1], 0)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number: Holm's step-down (Scand. J. Stat. 6, 1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    corrected, most = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        most = max(most, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = most
    return corrected


def borda(scores: Float[np.ndarray, "rows tasks"]) -> Float[np.ndarray, " rows"]:
    """The points of each row: on each task one for every row that is worse, half a point for every equal one."""
    worse = (scores[:, None] > scores[None]).sum((1, 2))
    equal = (scores[:, None] == scores[None]).sum((1, 2)) - scores.shape[1]  # less oneself
    return worse + equal / 2


def ranks(points: Sequence[float]) -> list[int]:
    """1 for the most points; equal ones share the better rank."""
    return [1 + sum(other > own for other in points) for own in points]
