"""Checks of the tokens that an output depends on."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int

from lra.checks.check import DoesNotApply, InNoLayer, check
from lra.checks.compare import far
from lra.checks.long import Long, at_length, long_layer
from lra.checks.oracle import differences
from lra.checks.profile import beyond_or_short_of_reach, declared, has_reach
from lra.checks.subject import LENGTH, MASK, Subject, X, masks, normal, quick_jit

DRAWS = 24  # random rows; so many show all pairs of a variant whose content decides which tokens attend to each other


@functools.lru_cache(maxsize=2)  # two checks use it
def dependence(s: Subject) -> Bool[np.ndarray, "length length"]:
    """Whether the output of token i depends on token j in any of DRAWS random rows without padding.

    The gradient along a random direction of the output shows every dependence. Gradients below 1e-7 of the largest are
    rounding errors. A NaN is a dependence.
    """
    x, direction = normal(DRAWS, LENGTH, s.shape.dim, seed=3), normal(LENGTH, s.shape.dim, seed=4)
    mask = np.ones((DRAWS, LENGTH), bool)

    @quick_jit
    def jacobian(params: object) -> jax.Array:
        _, pull_back = jax.vjp(lambda x: s.f(params, x, mask), x)
        at = lambda i: pull_back(jnp.zeros_like(x).at[:, i].set(jnp.asarray(direction)[i]))[0]
        return jnp.abs(jax.lax.map(at, jnp.arange(LENGTH))).sum(-1).max(1)

    sizes = np.asarray(jacobian(s.params))
    return ~(sizes <= 1e-7 * np.nanmax(sizes, initial=0))


@check(
    "causality",
    "a causal variant sees no later token; one that is not sees tokens on both sides",
    "it cheats where order is to be predicted, or wastes half of what a classifier may see",
)
def causality(s: Subject) -> Iterator[str]:
    depends = dependence(s)
    later, earlier = np.triu(depends, 1), np.tril(depends, -1)
    if s.variant.causal and later.any():
        i, j = np.argwhere(later)[0]
        yield f"it is declared causal, but the output of token {i} depends on token {j}"
    if not s.variant.causal:
        for side, name in ((later, "after"), (earlier, "before")):
            if not side.any():
                yield f"it is not declared causal, but no output depends on a token {name} it"
    yield from at_length(s, across_a_border)


def across_a_border(long: Long, seed: int) -> Iterator[str]:
    """Replaces all tokens from a border on, and all before it, and looks at the outputs on the other side."""
    length, causal, x = long.length, long.subject.variant.causal, long.tokens(seed)
    inside = 5 * length // 8 - 3  # of a block, whose tokens are a power of two or a round number
    between = (length // 2, 1000 * round(0.73 * length / 1000) or 200, length - 1)
    for border in (inside, *between) if causal else (inside,):
        before = long.mask(border)
        sides = ((before, "after"), (~before, "before"))
        for at, name in sides[:1] if causal else sides:
            y = long.subject(np.where(at[..., None], x, long.tokens(seed + 10)), long.mask())
            wrong = far(y, long.outputs(seed), at, 1e-5)
            if causal and wrong:
                yield f"it is declared causal, but with other tokens from {border:,} on, those before change by {wrong}"
            if not causal and not wrong:
                yield f"it is not declared causal, but no output depends on the tokens {name} token {border}"


@check(
    "reach",
    "an output depends on the tokens that the variant declares, every one of them and no other",
    "it is not the pattern that its name says",
)
def reach(s: Subject) -> Iterator[str]:
    depends, expected = dependence(s), declared(s, range(LENGTH), LENGTH)
    for wrong, words in ((depends & ~expected, "depends on"), (expected & ~depends, "does not depend on")):
        if wrong.any():
            i, j = np.argwhere(wrong)[0]
            yield (
                f"the output of token {i} {words} token {j}, against what reach() declares "
                f"(and {wrong.sum() - 1} more of {wrong.size} pairs)"
            )
    yield from at_length(s, beyond_or_short_of_reach)


@check(
    "order",
    "a variant that reads no positions gives permuted outputs for permuted tokens; one that does, others",
    "order is read where none should be, or declared and not read",
)
def order(s: Subject) -> Iterator[str]:
    permutation = np.random.default_rng(5).permutation(LENGTH)
    wrong = far(s(X[:, permutation], MASK[:, permutation]), s(X, MASK)[:, permutation], MASK[:, permutation], 1e-5)
    if wrong and not s.variant.reads_positions:
        yield f"it is declared to read no positions, but for permuted tokens its outputs change by {wrong}"
    if s.variant.reads_positions and not wrong and not read_at_length(s):
        yield InNoLayer("it is declared to read positions, but permuting the tokens only permutes its outputs")
    elif s.variant.reads_positions:
        yield from at_length(s, lost_positions)
    else:
        yield from at_length(s, read_positions)


def change_by(long: Long, seed: int, permutation: Int[np.ndarray, " length"]) -> str | None:
    """By how much outputs change, and are not only permuted, when the tokens are; None if by rounding errors."""
    y = long.subject(long.tokens(seed)[:, permutation], long.mask())
    return far(y, long.outputs(seed)[:, permutation], long.mask(), 1e-5)


def read_at_length(s: Subject) -> bool:
    """Whether permuted tokens give other outputs at a length: a window may be wider than the near row."""
    long = long_layer(s)
    if long is None or long.broken:
        return False
    return change_by(long, 0, np.random.default_rng(0).permutation(long.length)) is not None


def read_positions(long: Long, seed: int) -> Iterator[str]:
    if wrong := change_by(long, seed, np.random.default_rng(seed).permutation(long.length)):
        yield f"it is declared to read no positions, but for permuted tokens its outputs change by {wrong}"


def lost_positions(long: Long, seed: int) -> Iterator[str]:
    """Finds positions that are rounded, are cut off, or start anew, by swapping tokens that would have the same one."""
    if has_reach(long.subject):
        return  # what sees its own block only may well do the same in any block, whatever the order inside
    length, half = long.length, long.length // 2
    some = half // 128  # a power of two, as the distance of large numbers in a short type
    changes = lambda first, by: change_by(long, seed, swapped(length, first, by))
    if changes(np.arange(0, 3 * some, some), 1) and not changes(np.arange(half, length - 1, some), 1):
        yield f"from token {half:,} on, swapping neighbours only swaps their outputs"
    for first, by, block in ((half, half // 2, 128), (half, 1000 * (half // 2000) or 100, 200), (0, half, 128)):
        small = np.arange(half, half + (length - half) // (2 * block) * 2 * block).reshape(-1, 2, block)[:, 0].ravel()
        # permuted blocks permute the outputs of what has no positions but those in blocks, and only content beyond
        if not changes(np.arange(first, first + by), by) and changes(small, block):
            yield f"swapping tokens {first:,} to {first + by - 1:,} with those {by:,} later only swaps their outputs"


def swapped(length: int, first: Int[np.ndarray, " swaps"], by: int) -> Int[np.ndarray, " length"]:
    """The permutation that swaps tokens with those that come so many later."""
    permutation = np.arange(length)
    permutation[first], permutation[first + by] = first + by, first
    return permutation


@check(
    "oracle",
    "outputs and gradients are those of its oracle in float64, to 1e-5",
    "it is not what its paper says",
)
def oracle(s: Subject) -> Iterator[str]:
    if s.variant.oracle is None:
        raise DoesNotApply("it has no oracle")
    some = masks(13)
    yield from differences(s, some[some.any(1)])  # 'all masked' checks the row without a token
