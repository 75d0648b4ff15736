"""Compares a variant with its oracle: outputs, and gradients along random directions."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool

from lra.checks.subject import Subject, Tree, quick_jit

STEP = 1e-5  # the step of the central difference, whose error is about 1e-10


def differences(subject: Subject, mask: Bool[np.ndarray, "batch length"], seed: int = 1) -> Iterator[str]:
    """The findings where a variant differs from its oracle at the real tokens.

    Outputs must agree to 1e-5. Along two random directions, the gradient of every input and parameter must agree to
    1e-5 of its norm. A random direction shows an error of a gradient wherever the error is.
    """
    oracle = subject.variant.oracle
    assert oracle
    rng = np.random.default_rng(seed)
    inputs = [rng.normal(size=shape).astype(np.float32) for shape in subject.inputs(*mask.shape)]
    fixed = subject.weights(subject.rest)

    def exact(params: Tree, *inputs: np.ndarray) -> np.ndarray:
        given = subject.given(subject.weights(params) | fixed)
        out = np.asarray(oracle(*(np.float64(x) for x in inputs), mask, given))
        return np.where(mask.reshape(*mask.shape, *[1] * (out.ndim - 2)), out, 0)

    cotangent = rng.normal(size=inputs[0].shape) * mask.reshape(*mask.shape, *[1] * (inputs[0].ndim - 2))
    cotangent = np.float32(cotangent)

    @quick_jit
    def value_and_gradient(params: Tree, cotangent: np.ndarray, *inputs: np.ndarray) -> tuple[jax.Array, Tree]:
        out, pull_back = jax.vjp(lambda params, *inputs: subject.core(params, mask, *inputs), params, *inputs)
        return out, pull_back(cotangent)

    out, gradient = value_and_gradient(subject.params, cotangent, *inputs)
    expected = exact(subject.params, *inputs)
    error = np.abs(np.where(expected == 0, 0, np.asarray(out, float)) - expected).max(initial=0)
    largest = max(1.0, np.abs(expected).max(initial=0))
    if not error <= 1e-5 * largest:
        yield f"an output is off by {error:.1e}, of {largest:.1e}"
        return
    arguments = (subject.params, *inputs)
    leaves: list[np.ndarray]
    tree: Any
    leaves, tree = jax.tree.flatten(jax.tree.map(lambda x: np.asarray(x, float), arguments))
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(arguments)]
    for which, (name, part) in enumerate(zip(names, jax.tree.leaves(gradient))):
        part = np.asarray(part, float)
        for _ in range(2):
            direction = rng.normal(size=part.shape)
            up, down = (
                exact(*tree.unflatten([x + sign * STEP * direction if n == which else x for n, x in enumerate(leaves)]))
                for sign in (1, -1)
            )
            slope = (cotangent * (up - down)).sum() / (2 * STEP)
            error = abs((part * direction).sum() - slope)
            scale = np.linalg.norm(part) + np.linalg.norm(cotangent) * largest / 10
            if not error <= 1e-5 * scale:
                yield f"the gradient of {name} is off by {error:.1e}, of {scale:.1e}"
                break
