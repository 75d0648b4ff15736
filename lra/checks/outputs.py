"""Checks of outputs (shape, type, finite numbers, lengths), of side effects, and of checkpoints."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lra.checks.check import DoesNotApply, check
from lra.checks.compare import equal, far, not_finite, same_bits
from lra.checks.growth import program
from lra.checks.long import Long, at_length, long_layer
from lra.checks.subject import LENGTH, MASK, SOME, Subject, X, masks, normal
from lra.errors import UserError

ACCURACY = 0.01  # of outputs in float32; angles of thousands of radians cost honest variants a thousandth


@check(
    "shape",
    "gives finite numbers of the shape and type of its input, as one layer of two and as the only one",
    "it cannot be used at all",
)
def shape(s: Subject) -> Iterator[str]:
    if wrong := not_finite(s(X, MASK), MASK):
        yield wrong
    if s.variant.by_layer:
        alone = Subject(s.variant, dataclasses.replace(s.shape, layer=0, layers=1), s.options)
        if wrong := not_finite(alone(X, MASK), MASK):
            yield f"as the only layer: {wrong}"
    if s.variant.form == "heads":  # what works on heads works on any; it may refuse, but not raise something else
        with contextlib.suppress(UserError):
            f, arguments = program(s.variant, dataclasses.replace(s.shape, dim=10, qkv_dim=12, heads=3), s.options)
            jax.eval_shape(f, *arguments)


def relative_error(y: np.ndarray, exact: np.ndarray, at: np.ndarray) -> float:
    """The root of the mean squared error at some tokens, as a share of that of the exact outputs."""
    return np.sqrt(np.square(y - exact)[at].mean() / np.square(exact)[at].mean())


@check(
    "all masked",
    "rows without a real token give finite numbers and gradients",
    "one empty example makes the loss NaN",
)
def all_masked(s: Subject) -> Iterator[str]:
    nothing = np.zeros_like(MASK)
    if wrong := not_finite(s(X, nothing), ~nothing):
        yield wrong
    elif wrong := not_finite(s(X, MASK), ~nothing):
        yield f"at padded tokens: {wrong}"
    elif not finite_gradients(s, X[SOME], nothing[SOME]):
        yield "a gradient is NaN or infinite"
    yield from at_length(s, long_rows_of_padding)


def finite_gradients(s: Subject, x: np.ndarray, mask: np.ndarray) -> bool:
    params, tokens = s.pull(x, mask, normal(*x.shape, seed=6), all_layers=True)
    return all(np.isfinite(leaf).all() for leaf in (*params.values(), tokens))


def long_rows_of_padding(long: Long, seed: int) -> Iterator[str]:
    x, every = long.tokens(seed), long.mask()
    for words, mask in (("", long.mask(0)), ("at padded tokens: ", long.holes())):
        if wrong := not_finite(long.subject(x, mask), every):
            yield f"{words}{wrong}"
            return
        if not finite_gradients(long.subject, x, mask):
            yield f"{words}a gradient is NaN or infinite"
            return


@check(
    "lengths",
    "takes one token, odd lengths, thousands, and its configured maximum; beyond it, works or names the maximum",
    "it fails on some batches only, or reads past its tables in silence",
)
def lengths(s: Subject) -> Iterator[str]:
    for length in (1, 7, 13):
        if wrong := not_finite(s(X[:, :length], masks(length)), masks(length)):
            yield f"at {length} tokens: {wrong}"
    yield from beyond_the_maximum(s)
    long = long_layer(s)
    if long is None:
        return
    if long.broken:
        yield f"at {long.length:,} tokens: {long.broken}"
    else:
        yield from at_length(s, accuracy_at_length)


def accuracy_at_length(long: Long, seed: int) -> Iterator[str]:
    """Finds what float32 loses over thousands of tokens, and not over some dozens."""
    error = error_of_float32(long, seed, long.length)
    if error > ACCURACY and error_of_float32(long, seed, long.shorter[0]) < ACCURACY / 10:
        yield f"the outputs are {error:.1%} away from those in float64"


def error_of_float32(long: Long, seed: int, length: int) -> float:
    """The relative error of a row, by the same program in float64; 0 if the variant does not run in it."""
    double = lambda tree: jax.tree.map(lambda x: np.asarray(x, float) if x.dtype == jnp.float32 else x, tree)
    s, x, mask = long.subject, long.tokens(seed)[:, :length], long.mask()[:, :length]
    y = s(x, mask)
    with jax.enable_x64(True):
        try:
            exact = np.asarray(s.compiled(double(s.params), double(x), mask))
        except Exception:  # it promises nothing for float64
            return 0.0
    return relative_error(y, exact, mask)


def beyond_the_maximum(s: Subject) -> Iterator[str]:
    """The findings on one token more than the layer was built for."""
    mask = masks(LENGTH + 1)
    try:
        y = s(normal(*mask.shape, s.shape.dim), mask)
    except UserError as error:
        if str(LENGTH) not in str(error):
            yield f"beyond the maximum of {LENGTH} tokens it says '{error}', which does not name it"
        return
    except Exception as error:
        yield f"beyond the maximum of {LENGTH} tokens: {s.variant.blame(error)}; shape.admit(length, name) refuses"
        return
    if wrong := not_finite(y, mask):
        yield f"beyond the maximum of {LENGTH} tokens: {wrong}"


@check(
    "inputs",
    "changes neither its input nor, in evaluation, itself, and gives the same when it is not compiled",
    "what comes after it in the model, or the next call, sees something else",
)
def inputs(s: Subject) -> Iterator[str]:
    short, real = X[:, :7], masks(7)
    x, mask = short.copy(), real.copy()
    layers = s.layers(s.params, s.rest)
    before = jax.tree.map(jnp.copy, nnx.state(layers))
    eager = np.asarray(s.outputs(layers, x, mask)[-1])
    if not (np.array_equal(x, short) and np.array_equal(mask, real)):
        yield "it writes into the array that it was given"
    if not same_bits(before, nnx.state(layers)):
        yield "it changes its own variables in evaluation"
    if wrong := far(s(short, real), eager, real, 1e-5):
        yield f"compiled and not compiled, its outputs differ by {wrong}"


@check(
    "restore",
    "written to a checkpoint and read from it, gives the same bits",
    "a run that was stopped goes on as another one",
)
def restore(s: Subject) -> Iterator[str]:
    from lra.checkpoint import Checkpoints

    layers = s.layers(s.params, s.rest)
    graph, streams, kept = nnx.split(layers, nnx.RngState, ...)  # type: ignore[misc]
    if not jax.tree.leaves(kept):
        raise DoesNotApply("it has no variables")
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Checkpoints(Path(folder))) as checkpoints:
        checkpoints.save(0, kept, {})
        restored = checkpoints.restore(jax.tree.map(jnp.zeros_like, kept))
    assert restored
    _, params, rest = nnx.split(nnx.merge(graph, streams, restored[0]), nnx.Param, ...)  # type: ignore[misc]
    if not same_bits((params, rest), (s.params, s.rest)) or not equal(
        np.asarray(s.compiled(params, X, MASK)), s(X, MASK)
    ):
        yield "its variables or outputs are others after the checkpoint"
