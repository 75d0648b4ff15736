"""Checks that the output of an example depends on its real tokens only."""

import itertools
from collections.abc import Iterator

import numpy as np

from lra.checks.check import check
from lra.checks.compare import far
from lra.checks.long import Long, at_length
from lra.checks.subject import LENGTH, MASK, Subject, X, masks, normal


@check(
    "padding content",
    "what stands in the padding changes nothing",
    "padding leaks: results depend on what fills the batch up",
)
def padding_content(s: Subject) -> Iterator[str]:
    junk = np.where(MASK[..., None], X, 1000 * normal(*X.shape, seed=1))
    if wrong := far(s(junk, MASK), s(X, MASK), MASK, 1e-6):
        yield f"with other numbers in the padding, real tokens change by {wrong}"
    yield from at_length(s, content_of_long_padding)


def content_of_long_padding(long: Long, seed: int) -> Iterator[str]:
    s, x, mask = long.subject, long.tokens(seed), long.holes()
    junk = np.where(mask[..., None], x, 1000 * long.tokens(seed + 10))
    if wrong := far(s(junk, mask), s(x, mask), mask, 1e-6):
        yield f"with other numbers in the padding, real tokens change by {wrong}"


@check(
    "padding amount",
    "more padding changes nothing",
    "the same example scores differently in another batch or at another maximal length",
)
def padding_amount(s: Subject) -> Iterator[str]:
    for length in (1, 13):
        mask = masks(length)
        longer = s(X, np.pad(mask, [(0, 0), (0, LENGTH - length)]))
        if wrong := far(longer[:, :length], s(X[:, :length], mask), mask, 1e-5):
            yield f"with {LENGTH - length} padded tokens behind {length}, real tokens change by {wrong}"
    yield from at_length(s, amount_of_long_padding)


def amount_of_long_padding(long: Long, seed: int) -> Iterator[str]:
    s, x = long.subject, long.tokens(seed)
    for length, longer in itertools.pairwise([*long.shorter, long.length]):
        alone, mask = long.mask()[:, :length], long.mask(length)[:, :longer]
        if wrong := far(s(x[:, :longer], mask)[:, :length], s(x[:, :length], alone), alone, 1e-5):
            yield f"with {longer - length:,} padded tokens behind {length:,}, real tokens change by {wrong}"


@check(
    "neighbours",
    "the order of the batch and the other examples in it change nothing",
    "an example's score depends on its batch",
)
def neighbours(s: Subject) -> Iterator[str]:
    out, order = s(X, MASK), np.random.default_rng(0).permutation(len(X))
    if wrong := far(s(X[order], MASK[order]), out[order], MASK[order], 1e-6):
        yield f"in another order, outputs change by {wrong}"
    others, mask = 10 * normal(*X.shape, seed=2), ~MASK
    others[2], mask[2] = X[2], MASK[2]
    if wrong := far(s(others, mask)[2], out[2], MASK[2], 1e-6):
        yield f"among others, outputs change by {wrong}"
    if wrong := far(s(X[2:3], MASK[2:3])[0], out[2], MASK[2], 1e-5):
        yield f"alone in a batch, outputs change by {wrong}"
    yield from at_length(s, neighbours_of_a_longer_row)


def neighbours_of_a_longer_row(long: Long, seed: int) -> Iterator[str]:
    s, length = long.subject, long.shorter[0]
    x, mask = long.tokens(seed)[:, :length], long.mask(length // 2)[:, :length]
    other = 10 * long.tokens(seed + 10)[:, :length]
    both = s(np.concatenate([x, other]), np.concatenate([mask, np.ones_like(mask)]))
    if wrong := far(both[:1], s(x, mask), mask, 1e-5):
        yield f"beside another of {length:,} tokens, the outputs of one of {length // 2} change by {wrong}"


@check(
    "zero tokens",
    "a real token of zeros counts as a token: only the mask says what is padding",
    "black pixels, or whatever is embedded as zeros, are taken for padding",
)
def zero_tokens(s: Subject) -> Iterator[str]:
    yield from taken_for_padding(s, X, MASK, [0, 5, 11])
    yield from at_length(s, zeros_in_a_long_row)


def zeros_in_a_long_row(long: Long, seed: int) -> Iterator[str]:
    length = long.middle
    every_third = list(range(0, length, 3))
    yield from taken_for_padding(long.subject, long.tokens(seed)[:, :length], long.mask()[:, :length], every_third)


def taken_for_padding(s: Subject, x: np.ndarray, mask: np.ndarray, zeroed: list[int]) -> Iterator[str]:
    small, zero = x.copy(), x.copy()
    small[:, zeroed] *= 1e-4
    zero[:, zeroed] = 0
    others = mask & ~np.isin(np.arange(x.shape[1]), zeroed)
    if wrong := far(s(zero, mask), s(small, mask), others, 1e-2):
        yield f"when {len(zeroed)} tokens go from almost zero to zero, the others change by {wrong}"
