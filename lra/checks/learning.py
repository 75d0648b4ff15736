"""Checks of what training needs: gradients, randomness as a function of keys, JAX's transformations."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lra.checks.check import InNoLayer, check
from lra.checks.compare import equal, far, same_bits
from lra.checks.long import Long, at_length
from lra.checks.subject import LENGTH, MASK, SOME, Subject, Tree, X, normal, quick_jit
from lra.models.dropout import BY_PLACE, OTHERS, reseed

UNUSED = 0.05  # of a parameter's numbers: a table may have a row too many
DIRECTION = normal(*X.shape, seed=6)


def not_finite_gradients(params: Mapping[str, np.ndarray], x: np.ndarray, scale: float) -> Iterator[str]:
    """The findings on the gradients of parameters and of tokens, where they are NaN or infinite."""
    of_size = "" if scale == 1 else f", for inputs of size {scale:.0f},"
    for name, leaf in ({"the input": x} | dict(params)).items():
        if not np.isfinite(leaf).all():
            yield f"the gradient of {name}{of_size} is not finite"


def wrong_gradients(s: Subject) -> Iterator[str]:
    """The findings on the gradients of a layer."""
    for scale in (1.0, 100.0):
        params, x = s.pull(np.float32(scale) * X[SOME], MASK[SOME], DIRECTION[SOME], all_layers=True)
        yield from not_finite_gradients(params, x, scale)
        for name, leaf in params.items():
            if scale == 1 and not leaf.any():
                yield f"the gradient of {name} is zero throughout: nothing depends on it"


@check(
    "gradients",
    "every number of every parameter has a gradient, finite and not always zero",
    "training stops at a NaN, or a part of the model never learns",
)
def gradients(s: Subject) -> Iterator[str]:
    yield from wrong_gradients(s)
    if s.variant.by_layer:
        alone = Subject(s.variant, dataclasses.replace(s.shape, layer=0, layers=1), s.options)
        yield from (f"as the only layer: {wrong}" for wrong in wrong_gradients(alone))
    yield from at_length(s, gradients_at_length)


def gradients_at_length(long: Long, seed: int) -> Iterator[str]:
    """The findings on the gradients of a long layer. Only there all of a table is used, so that no part may be unused.

    A number without a gradient must be without one for other parameters too: a unit may be dead for these.
    """
    s, mask, cotangent = long.subject, long.mask(), long.tokens(seed + 10)
    yield from not_finite_gradients(*s.pull(100 * long.tokens(seed), mask, cotangent, all_layers=True), 100)
    unused: dict[str, np.ndarray] = {}
    for draw in range(3):
        params = s.params if draw == 0 else Subject(s.variant, s.shape, s.options, seed=seed + draw).params
        gradient, x = s.pull(long.tokens(seed + draw), mask, cotangent, params, all_layers=True)
        if draw == 0:
            yield from not_finite_gradients(gradient, x, 1)
        candidates = unused if draw else dict.fromkeys(gradient, True)
        unused = {name: at & (gradient[name] == 0) for name, at in candidates.items()}
        unused = {name: at for name, at in unused.items() if at.mean() > UNUSED}
        if not unused:
            return
    for name, at in unused.items():
        yield f"the gradient of {name} is zero in {at.sum():,} of {at.size:,} numbers: nothing depends on them"


def drawn(s: Subject, key: int) -> Tree:
    """The variables of a layer after its modules have redrawn their random features from a key."""
    layers = s.layers(s.params, s.rest)
    for _, module in nnx.iter_modules(layers):
        if hasattr(module, "redraw"):
            module.redraw(jax.random.key(key), jnp.int32(0))
    return nnx.split(layers, nnx.Param, ...)[2]  # type: ignore[misc]


@check(
    "randomness",
    "the same key gives the same bits; where it draws at random, another key gives others",
    "a run cannot be repeated, or its seeds are all the same one",
)
def randomness(s: Subject) -> Iterator[str]:
    again = Subject(s.variant, s.shape, s.options)
    if not same_bits((s.params, s.rest), (again.params, again.rest)):
        yield "built twice from one key, its variables differ"
    elif not equal(again(X, MASK), s(X, MASK)):
        yield "built twice from one key, its outputs differ: it has something random that is no nnx.Variable"
    if not equal(s(X, MASK), s(X, MASK)):
        yield "called twice in evaluation, its outputs differ"
    if not any(hasattr(module, "redraw") for _, module in nnx.iter_modules(s.layers(s.params, s.rest))):
        return
    one, one_again, other = drawn(s, 1), drawn(s, 1), drawn(s, 2)
    f = quick_jit(lambda rest: s.outputs(s.layers(s.params, rest), X, MASK)[-1])
    if not same_bits(one, one_again):
        yield "redraw() draws differently from one key"
    if same_bits(one, other) or not far(np.asarray(f(one)), np.asarray(f(other)), MASK, 1e-6):
        yield "redraw() draws the same from another key"


@check(
    "dropout",
    "attention dropout is off in evaluation, and in training a function of its key",
    "scores are noisy, or training cannot be repeated",
)
def dropout(s: Subject) -> Iterator[str]:
    shape = dataclasses.replace(s.shape, dropout=0.5)
    # not to the bit: a kernel without dropout may be another one
    if wrong := far(Subject(s.variant, shape, s.options)(X, MASK), s(X, MASK), MASK, 1e-5):
        yield f"in evaluation, with another rate of dropout, outputs change by {wrong}"
    training = Subject(s.variant, shape, s.options, train=True)

    @quick_jit
    def f(key: jax.Array) -> jax.Array:
        layers = training.layers(training.params, training.rest)
        reseed(layers, key, BY_PLACE, *OTHERS)
        return training.outputs(layers, X, MASK)[-1]

    one, one_again, other = (np.asarray(f(jax.random.key(seed))) for seed in (1, 1, 2))
    if not equal(one, one_again):
        yield "in training, one key gives different outputs"
    if getattr(s.module, "takes_dropout", False) and not far(one, other, MASK, 1e-6):
        yield InNoLayer("it takes dropout, but drops nothing in training")


@check(
    "transformations",
    "vmap over seeds, scan, and rematerialisation change nothing",
    "it does not train in the arena, whose loop vmaps over seeds and scans over steps",
)
def transformations(s: Subject) -> Iterator[str]:
    def f(params: Tree, rest: Tree, x: Any, mask: Any) -> jax.Array:
        return s.outputs(s.layers(params, rest), x, mask)[-1]

    other = Subject(s.variant, s.shape, s.options, seed=1)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), (s.params, s.rest), (other.params, other.rest))
    both = quick_jit(jax.vmap(f, (0, 0, None, None), axis_size=2))(*stacked, X, MASK)
    second = quick_jit(f)(other.params, other.rest, X, MASK)
    for name, out, alone in (("first", both[0], s(X, MASK)), ("second", both[1], second)):
        if wrong := far(np.asarray(out), np.asarray(alone), MASK, 1e-5):
            yield f"under vmap over two seeds, the {name} one's outputs change by {wrong}"

    halves = X.reshape(2, 3, *X.shape[1:]), MASK.reshape(2, 3, LENGTH)
    body = lambda _, half: (None, f(s.params, s.rest, *half))
    scanned = quick_jit(lambda: jax.lax.scan(body, None, halves)[1])()
    if wrong := far(np.asarray(scanned).reshape(X.shape), s(X, MASK), MASK, 1e-5):
        yield f"under scan, outputs change by {wrong}"

    of_loss = lambda f: jax.grad(lambda x: (jnp.where(MASK[..., None], f(x), 0) * DIRECTION).sum())
    plain = lambda x: f(s.params, s.rest, x, MASK)
    exact, again = quick_jit(lambda x: (of_loss(plain)(x), of_loss(jax.checkpoint(plain))(x)))(X)
    if wrong := far(np.asarray(again), np.asarray(exact), MASK, 1e-5):
        yield f"rematerialised, gradients change by {wrong}"
