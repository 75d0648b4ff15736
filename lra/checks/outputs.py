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
from lra.checks.subject import LENGTH, MASK, Subject, X, masks, normal, quick_jit, same_bits
from lra.errors import UserError


def far(a: np.ndarray, b: np.ndarray, at: np.ndarray, tolerance: float) -> str | None:
    """The largest difference of two outputs at the tokens `at`, in words; None if it is within the tolerance.

    Args:
      tolerance: a share of the largest output of `b`.
    """
    a, b = (np.asarray(y, float)[at] for y in (a, b))
    largest = max(np.abs(b).max(initial=0), 1e-30)
    error = np.abs(a - b).max(initial=0) / largest
    return None if error <= tolerance else f"{error:.1g} times the largest output"


def not_finite(y: np.ndarray, at: np.ndarray) -> str | None:
    """Where outputs at the tokens `at` are not finite, in words; None if all are finite."""
    wrong = np.argwhere(~np.isfinite(np.asarray(y, float)).all(-1) & at)
    if not len(wrong):
        return None
    row, token = wrong[0]
    return f"{len(wrong)} outputs are NaN or infinite, the first that of token {token} in a row of {at[row].sum()}"


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


@check(
    "bfloat16",
    "computes in bfloat16 what it does in float32, to a tenth",
    "it will raise, or train worse, in mixed precision",
)
def bfloat16(s: Subject) -> Iterator[str]:
    halve = lambda tree: jax.tree.map(lambda x: x.astype(jnp.bfloat16) if x.dtype == jnp.float32 else x, tree)
    y = np.asarray(quick_jit(s.f)(halve(s.params), jnp.bfloat16(X), MASK).astype(jnp.float32))
    exact = s(X, MASK)
    if wrong := not_finite(y, MASK):
        yield wrong
        return
    error = np.sqrt(np.square(y - exact)[MASK].mean() / np.square(exact)[MASK].mean())
    if error > 0.1:
        yield f"the outputs are {error:.0%} away from those in float32"


@check(
    "all masked",
    "rows without a real token give finite numbers",
    "one empty example makes the loss NaN",
)
def all_masked(s: Subject) -> Iterator[str]:
    if wrong := not_finite(s(X, np.zeros_like(MASK)), np.ones_like(MASK)):
        yield wrong
    if wrong := not_finite(s(X, MASK), np.ones_like(MASK)):
        yield f"at padded tokens: {wrong}"


@check(
    "lengths",
    "takes one token, odd lengths, and its configured maximum; beyond it, works or says what the maximum is",
    "it fails on some batches only, or reads past its tables in silence",
)
def lengths(s: Subject) -> Iterator[str]:
    for length in (1, 7, 13):
        if wrong := not_finite(s(X[:, :length], masks(length)), masks(length)):
            yield f"at {length} tokens: {wrong}"
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
    if not same_bits((params, rest), (s.params, s.rest)) or not np.array_equal(
        np.asarray(s.compiled(params, X, MASK)), s(X, MASK)
    ):
        yield "its variables or outputs are others after the checkpoint"
