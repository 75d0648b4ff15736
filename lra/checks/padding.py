"""Checks that the output of an example depends on its real tokens only."""

from collections.abc import Iterator

import numpy as np

from lra.checks.check import check
from lra.checks.outputs import far
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


@check(
    "zero tokens",
    "a real token of zeros counts as a token: only the mask says what is padding",
    "black pixels, or whatever is embedded as zeros, are taken for padding",
)
def zero_tokens(s: Subject) -> Iterator[str]:
    zeroed = [0, 5, 11]
    small = X.copy()
    small[:, zeroed] *= 1e-4
    zero = X.copy()
    zero[:, zeroed] = 0
    others = MASK & ~np.isin(np.arange(LENGTH), zeroed)
    if wrong := far(s(zero, MASK), s(small, MASK), others, 1e-2):
        yield f"when three tokens go from almost zero to zero, the others change by {wrong}"
