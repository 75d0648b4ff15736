"""Checks of the tokens that an output depends on, by its Jacobian."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from lra.checks.check import DoesNotApply, InNoLayer, check
from lra.checks.oracle import differences
from lra.checks.outputs import far
from lra.checks.subject import LENGTH, MASK, Subject, X, masks, normal, quick_jit

DRAWS = 24  # random rows; so many show all pairs of a variant whose content decides which tokens attend to each other


@functools.lru_cache(maxsize=2)  # two checks use it
def dependence(s: Subject) -> Bool[np.ndarray, "length length"]:
    """Whether the output of token i depends on token j in any of DRAWS random rows without padding.

    The gradient along a random direction of the output shows every dependence. Gradients below 1e-7 of the largest are
    rounding errors.
    """
    x, direction = normal(DRAWS, LENGTH, s.shape.dim, seed=3), normal(LENGTH, s.shape.dim, seed=4)
    mask = np.ones((DRAWS, LENGTH), bool)

    @quick_jit
    def jacobian(params: object) -> jax.Array:
        _, pull_back = jax.vjp(lambda x: s.f(params, x, mask), x)
        at = lambda i: pull_back(jnp.zeros_like(x).at[:, i].set(jnp.asarray(direction)[i]))[0]
        return jnp.abs(jax.lax.map(at, jnp.arange(LENGTH))).sum(-1).max(1)

    sizes = np.asarray(jacobian(s.params))
    return sizes > 1e-7 * sizes.max()


def declared(s: Subject) -> Bool[np.ndarray, "length length"]:
    """Whether the variant declares that the output of token i depends on token j."""
    core = s.module.core if s.variant.form == "heads" else s.module
    if hasattr(core, "reach"):
        return np.asarray(core.reach(LENGTH))
    every = np.ones((LENGTH, LENGTH), bool)
    return np.tril(every) if s.variant.causal else every


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


@check(
    "reach",
    "an output depends on the tokens that the variant declares, every one of them and no other",
    "it is not the pattern that its name says",
)
def reach(s: Subject) -> Iterator[str]:
    depends, expected = dependence(s), declared(s)
    for wrong, words in ((depends & ~expected, "depends on"), (expected & ~depends, "does not depend on")):
        if wrong.any():
            i, j = np.argwhere(wrong)[0]
            yield (
                f"the output of token {i} {words} token {j}, against what reach() declares "
                f"(and {wrong.sum() - 1} more of {wrong.size} pairs)"
            )


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
    if not wrong and s.variant.reads_positions:
        yield InNoLayer("it is declared to read positions, but permuting the tokens only permutes its outputs")


@check(
    "oracle",
    "outputs and gradients are those of its oracle in float64, to 1e-5",
    "it is not what its paper says",
)
def oracle(s: Subject) -> Iterator[str]:
    if s.variant.oracle is None:
        raise DoesNotApply("it has no oracle")
    yield from differences(s, masks(13))
