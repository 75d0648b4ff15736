"""On a CPU, a few heads of a few examples at a time, so that what is between input and output stays in the cache.

All at once are written to memory and read again by one operation after the other, which takes two to ten times as long.
On accelerators they keep all cores busy.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import sequential_vmap
from jaxtyping import Array

from lra.models.kernels.backends import platform

CACHE = 1 << 19  # numbers of an array that is alive inside, at most: 2 MiB

Share = tuple[int, int]  # numbers of examples and heads
Tree = Any  # of arrays [batch, any, heads, ...]; one with a single head has it for all, but for the first


def cache() -> int | None:
    """How many numbers of an array may be alive at once, or None: there is no such limit.

    Several devices, which a CPU can simulate, have parts of a batch each. A loop over its examples would bring all of
    them to all devices.
    """
    return CACHE if platform() == "cpu" and jax.device_count() == 1 else None


def at_a_time(whole: Share, numbers: int) -> Share:
    """How many examples and heads are computed at once: divisors of all.

    Args:
      numbers: those of the largest array between input and output, for one example and head.
    """
    (batch, heads), most = whole, cache()
    if most is None:
        return whole
    columns = largest_divisor(heads, most // numbers)
    return (largest_divisor(batch, most // numbers // heads) if columns == heads else 1), columns


def largest_divisor(n: int, most: int) -> int:
    """The largest divisor of n that is at most `most`, or 1."""
    return next((size for size in range(min(most, n), 0, -1) if n % size == 0), 1)


def whole_of(x: Tree) -> Share:
    first = jax.tree.leaves(x)[0]
    return first.shape[0], first.shape[2]


def in_turn(f: Callable[[Tree, Any], Tree], numbers: int, x: Tree, shared: Any = None) -> Tree:
    """f(x, shared), for a few examples and heads after the others; under vmap, one problem after the other.

    Args:
      numbers: as `at_a_time` needs them.
      shared: a tree of arrays that all examples and heads share.
    """
    whole = batch, heads = whole_of(x)
    examples, columns = at_a_time(whole, numbers)
    if (examples, columns) == whole:
        return f(x, shared)

    @sequential_vmap
    def each(x: Tree, shared: Any) -> Tree:
        def corner(y: Array, index: Array) -> list[Any]:
            example, column = jnp.divmod(index, heads // columns)
            return [example * examples, 0, column * columns if y.shape[2] > 1 else 0, *[0] * (y.ndim - 3)]

        def run(index: Array) -> Tree:
            size = lambda y: (examples, y.shape[1], min(columns, y.shape[2]), *y.shape[3:])
            return f(jax.tree.map(lambda y: lax.dynamic_slice(y, corner(y, index), size(y)), x), shared)

        def body(out: Tree, index: Array) -> tuple[Tree, None]:
            place = lambda y, new: lax.dynamic_update_slice(y, new, corner(y, index))
            return jax.tree.map(place, out, run(index)), None

        indices = jnp.arange(batch * heads // (examples * columns))
        zeros = lambda y: jnp.zeros((batch, y.shape[1], heads, *y.shape[3:]), y.dtype)
        return lax.scan(body, jax.tree.map(zeros, jax.eval_shape(run, indices[0])), indices)[0]

    return each(x, shared)


def recomputed_in_turn(
    f: Callable[[Tree, Tree, Any], Tree], numbers: int, x: Tree, beside: Tree, shared: Any = None
) -> Tree:
    """f(x, beside, shared) as by `in_turn`, with the gradient by x alone. Where that is not all at once, nothing
    between input and output is kept for the gradient.
    """
    if at_a_time(whole_of(x), numbers) == whole_of(x):
        return f(x, beside, shared)
    return _recomputed(f, numbers, x, beside, shared)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _recomputed(f: Callable[..., Tree], numbers: int, x: Tree, beside: Tree, shared: Any) -> Tree:
    return in_turn(lambda parts, shared: f(*parts, shared), numbers, (x, beside), shared)


def _forward(f: Callable[..., Tree], numbers: int, x: Tree, beside: Tree, shared: Any) -> tuple[Tree, Any]:
    return _recomputed(f, numbers, x, beside, shared), (x, beside, shared)


def _backward(f: Callable[..., Tree], numbers: int, kept: Any, dy: Tree) -> tuple[Tree, None, None]:
    def gradient(parts: Tree, shared: Any) -> Tree:
        x, beside, dy = parts
        return jax.vjp(lambda x: f(x, beside, shared), x)[1](dy)[0]

    x, beside, shared = kept
    return in_turn(gradient, numbers, (x, beside, dy), shared), None, None


_recomputed.defvjp(_forward, _backward)
