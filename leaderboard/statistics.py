"""Statistics of the tables: intervals over seeds, tests on the same examples, corrections, ranks."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import special

CONFIDENCE = 0.95
ALPHA = 0.05  # significance level of a difference, after correction
# significance level of "above the floor": one in a thousand untrained seeds passes
FLOOR_ALPHA = 0.001
FEW = 3  # a row with fewer seeds is marked


class Interval(NamedTuple):
    """A mean with its confidence interval. The limits are None for fewer than two values."""

    mean: float
    low: float | None
    high: float | None


def interval(values: Sequence[float]) -> Interval:
    """The mean with Student's 95 % confidence interval, mean -+ t(0.975, n - 1) s / sqrt(n).

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


def accuracy_interval(shares: Sequence[float]) -> Interval:
    """`interval` of accuracies, cut at 0 and 1: Student's interval of seeds near 1 goes beyond."""
    mean, low, high = interval(shares)
    return Interval(mean, None if low is None else max(low, 0.0), None if high is None else min(high, 1.0))


def above_floor(accuracy: float, examples: int, floor: float) -> bool:
    """Whether an accuracy is above the floor by more than luck.

    The test is P(X >= right answers) < 0.001 for X ~ Binomial(examples, floor).
    """
    right = round(accuracy * examples)
    if right <= 0 or floor >= 1:
        return False
    return bool(special.bdtrc(right - 1, examples, max(floor, 1e-12)) < FLOOR_ALPHA)


def above_floor_by_example(
    right: Float[np.ndarray, " examples"], labels: Int[np.ndarray, " examples"], floor: float
) -> bool:
    """The same where the tokens of an example have labels, whose answers depend on each other.

    The sum of right answers beyond the floor's is compared with its standard deviation if each example has a random
    sign, as in `paired`. The test is normal, one-sided, with p < 0.001.

    Args:
      right: how many labels of each example are predicted, or the mean of that over seeds.
      labels: how many labels each example has.
    """
    beyond = right - floor * labels
    spread = np.sqrt(np.square(beyond).sum())
    return bool(spread and special.ndtr(-beyond.sum() / spread) < FLOOR_ALPHA)


def paired(ours: Int[np.ndarray, "seeds examples"], theirs: Int[np.ndarray, "seeds examples"]) -> float:
    """The exact two-sided p-value of the hypothesis that two models are exchangeable on the same examples.

    The difference d of an example is the number of seeds in which only we are right minus the number in which only they
    are. Under the hypothesis each d has a random sign. The statistic is the sum of all d. The seeds of one example keep
    a common sign, since they are not independent. For one seed this is McNemar's exact test (Psychometrika 12, 1947).
    For several seeds it is Fisher's permutation test of paired differences, over all sign changes instead of a sample.
    An example whose tokens have labels is one difference too, since its answers depend on each other.

    The p-value says whether these trained models differ on such examples. It does not say what other seeds would do;
    the interval over seeds does.

    Args:
      ours, theirs: how many labels of each example each seed predicts; 0 or 1 where an example has one.

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
    """Welch's t-test (Biometrika 34, 1947) of two means, for unpaired values with different variances.

    Returns:
      the difference, ours minus theirs, with its 95 % confidence interval, and the two-sided p-value.

    Raises:
      ValueError: a side has fewer than two values.
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
    """The convolution of two distributions. Long ones use the Fourier transform; negative rounding errors become 0."""
    if min(len(a), len(b)) < 64:
        return np.convolve(a, b)
    size = 1 << (len(a) + len(b) - 2).bit_length()
    return np.maximum(np.fft.irfft(np.fft.rfft(a, size) * np.fft.rfft(b, size), size)[: len(a) + len(b) - 1], 0)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected by Holm's step-down method (Scand. J. Stat. 6, 1979), in the given order."""
    order = np.argsort(p_values, kind="stable")
    corrected, most = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        most = max(most, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = most
    return corrected


def borda(scores: Float[np.ndarray, "rows tasks"]) -> Float[np.ndarray, " rows"]:
    """The Borda points of each row: on each task one point for every worse row, half a point for every equal row."""
    worse = (scores[:, None] > scores[None]).sum((1, 2))
    equal = (scores[:, None] == scores[None]).sum((1, 2)) - scores.shape[1]  # without the row itself
    return worse + equal / 2


def ranks(points: Sequence[float]) -> list[int]:
    """The rank of each row, 1 for the most points. Equal rows share the better rank."""
    return [1 + sum(other > own for other in points) for own in points]
