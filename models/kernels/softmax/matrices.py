"""On a CPU, a few matrices of scores at a time: what is alive stays in its cache. A matrix is of one example and head.

An op that writes all scores of all heads and reads them again waits for memory: attention in float32 takes twice as
long so.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from lra.models.kernels.backends import folds_vmap, platform
from lra.models.kernels.softmax.operands import Operands

CACHE = 1 << 19  # scores that are alive at once, at most; in float32, they and their gradients take 4 MiB

Share = tuple[int, int]  # how many examples and heads


def at_a_time(x: Operands, scores: int) -> Share:
    """How many examples and heads are computed at once, if a matrix has so many scores: divisors of both."""
    batch, _, heads, _ = x.q.shape
    if platform() != "cpu" or x.allowed is not None or x.bias is not None:
        return batch, heads
    most = max(CACHE // scores, 1)
    few = largest_divisor(heads, most)
    return (largest_divisor(batch, most // heads) if few == heads else 1), few


def largest_divisor(n: int, most: int) -> int:
    return next(size for size in range(min(most, n), 0, -1) if n % size == 0)


def in_turn(f: Callable[..., Any], scores: int, x: Operands, *more: Any) -> Any:
    """f(x, *more), a share of the examples and heads after the other.

    Args:
      scores: of a matrix.
      more: trees of arrays [batch, tokens, heads, ...], as are the results of f.
    """
    if at_a_time(x, scores) == (x.q.shape[0], x.q.shape[2]):
        return f(x, *more)

    def each(x: Operands, *more: Any) -> Any:
        (batch, _, heads, _), (examples, columns) = x.q.shape, at_a_time(x, scores)

        def corner(y: Array, index: Array) -> list[Any]:
            example, head = jnp.divmod(index, heads // columns)
            return [example * examples, 0, head * columns if y.shape[2] > 1 else 0, *[0] * (y.ndim - 3)]

        def body(out: Any, index: Array) -> tuple[Any, None]:
            def cut(y: Array) -> Array:
                size = examples, y.shape[1], min(columns, y.shape[2]), *y.shape[3:]
                return lax.dynamic_slice(y, corner(y, index), size)

            part = jax.tree.map(cut, (x, *more))
            if x.seeds is not None:
                part = part[0]._replace(seeds=part[0].seeds[:, 0]), *part[1:]
            place = lambda y, new: lax.dynamic_update_slice(y, new, corner(y, index))
            return jax.tree.map(place, out, f(*part)), None

        empty = jax.tree.map(lambda y: jnp.zeros(y.shape, y.dtype), jax.eval_shape(f, x._replace(seeds=None), *more))
        return lax.scan(body, empty, jnp.arange(batch * heads // (examples * columns)))[0]

    if x.seeds is not None:
        x = x._replace(seeds=x.seeds[:, None])
    return folds_vmap(each)(x, *more)
