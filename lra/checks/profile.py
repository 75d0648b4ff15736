"""Compares what single outputs of a long layer depend on with what the variant declares, by gradients.

The whole Jacobian would cost too much. The gradient of one output shows all tokens that it depends on, each to itself.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float

from lra.checks.check import Unchecked
from lra.checks.long import Long
from lra.checks.subject import Subject, normal

SEEN = 1e-7  # of the largest gradient: what is below it is a rounding error
SURE = 1e-6  # what is above it is none, not even of a Fourier transform
FADED = 1e-5  # where a gradient has fallen to this, it may have fallen below SEEN a few tokens further
DRAWS = 3  # of tokens: a variant whose content decides what it sees does not see the same in all of them
PAIRS = 2049  # tokens at most where a variant declares a matrix of pairs


def core_of(s: Subject) -> object:
    return s.module.core if s.variant.form == "heads" else s.module


def has_reach(s: Subject) -> bool:
    """Whether the variant declares a matrix of its own, and not all tokens, or all earlier ones."""
    return hasattr(core_of(s), "reach")


def declared(s: Subject, outputs: Sequence[int], length: int) -> Bool[np.ndarray, "outputs length"]:
    """Whether the variant declares that the output of each of some tokens depends on each token."""
    core = core_of(s)
    if hasattr(core, "reach"):
        return np.asarray(core.reach(length))[np.asarray(outputs)]
    last = np.asarray(outputs)[:, None] if s.variant.causal else length
    return np.broadcast_to(np.arange(length) <= last, (len(outputs), length))


def beyond_or_short_of_reach(long: Long, seed: int) -> Iterator[str]:
    s = long.subject
    pairs = has_reach(s)
    length = min(long.length, PAIRS) if pairs else long.length
    # around borders of blocks: of powers of two, of round numbers, and the last
    single = [length // 2 - 5, length // 2 + 5, 1000 * round(0.73 * length / 1000) + 5, length - 1]
    single += [0, 131] if pairs else []
    for output, expected in zip(single, declared(s, single, length)):
        at = np.arange(length) == output
        yield from wrong_reach(long, seed, at, expected, f"the output of token {output:,}")
    if pairs:
        return
    half = np.random.default_rng(seed).random(length) < 0.5
    for at in (half, ~half):  # all tokens are seen by some output, even if each output sees few
        expected = np.arange(length) < np.flatnonzero(at)[-1] if s.variant.causal else np.ones(length, bool)
        yield from wrong_reach(long, seed, at, expected, "an output")


def wrong_reach(
    long: Long, seed: int, at: Bool[np.ndarray, " length"], expected: Bool[np.ndarray, " length"], words: str
) -> Iterator[str]:
    """The findings on some outputs, of which one depends on each expected token."""
    low, high = np.full(len(at), np.inf), np.zeros(len(at))
    for draw in range(DRAWS):
        share = gradients(long, seed + draw, at)
        if not np.isfinite(share).all():
            yield Unchecked("'gradients' fails")
            return
        low, high = np.minimum(low, share), np.maximum(high, share)
        varies = expected & ~at & (low <= SEEN) & (high > SEEN)
        beyond = ~expected & ~at & (low > SURE)
        short = expected & ~at & (high <= SEEN)
        if varies.sum() > 0.01 * expected.sum():
            short[:] = False  # its content decides
        short &= ~faded(high, expected & ~at & ~short)
        if not beyond.any() and not short.any():
            return
    for wrong, verb in ((beyond, "depends on"), (short, "does not depend on")):
        if wrong.any():
            first, more = np.flatnonzero(wrong)[0], wrong.sum() - 1
            others = f" and {more:,} others" if more else ""
            yield f"{words} {verb} token {first:,}{others}, against what is declared"


def gradients(long: Long, seed: int, at: Bool[np.ndarray, " length"]) -> Float[np.ndarray, " length"]:
    """The size of the gradient of some outputs with respect to each token, as a share of the largest at others."""
    x, mask = long.tokens(seed)[:, : len(at)], long.mask()[:, : len(at)]
    direction = np.where(at[:, None], normal(*x.shape, seed=seed + 20), 0)
    sizes = np.linalg.norm(long.subject.pull(x, mask, direction)[1][0], axis=-1)
    return sizes / max(sizes[~at].max(), 1e-30)


def faded(share: Float[np.ndarray, " length"], seen: Bool[np.ndarray, " length"]) -> Bool[np.ndarray, " length"]:
    """Whether gradients, where they are seen next to each token on either side, are close to what can be seen at all.

    So a moving average fades out. A window does not: it ends with a large gradient.
    """
    places = np.flatnonzero(seen)
    if not len(places):
        return np.zeros(len(share), bool)
    near, strength = 4, share[places]
    after = np.searchsorted(places, np.arange(len(share)))
    window = lambda index: strength[np.clip(index, 0, len(places) - 1)]
    right = np.min([window(after + k) for k in range(near)], 0)
    left = np.min([window(after - 1 - k) for k in range(near)], 0)
    right, left = np.where(after < len(places), right, 0), np.where(after > 0, left, 0)
    return np.maximum(right, left) <= FADED
