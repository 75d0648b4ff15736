"""On a CPU, a few matrices of scores at a time: what is alive stays in its cache. A matrix is of one example and head.

All matrices at once are written to memory and read again by one operation after the other, which takes two to ten times
as long. On accelerators they keep all cores busy.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from lra.models.kernels.backends import folds_vmap, platform
from lra.models.kernels.softmax.operands import Operands

CACHE = 1 << 19  # scores that are alive at once, at most: 2 MiB, and as much again for each array like them


def cache() -> int | None:
    """How many scores may be alive at once, or None: the platform needs no such limit."""
    return CACHE if platform() == "cpu" else None


def at_a_time(x: Operands, scores: int) -> tuple[int, int]:
    """How many examples and heads are computed at once: divisors of both.

    Operands that hold all pairs are in memory anyway, and may be the same for all examples: they stay together.

    Args:
      scores: of a matrix.
    """
    (batch, _, heads, _), most = x.q.shape, cache()
    if most is None or x.allowed is not None or x.bias is not None:
        return batch, heads
    columns = largest_divisor(heads, most // scores)
    return (largest_divisor(batch, most // scores // heads) if columns == heads else 1), columns


def largest_divisor(n: int, most: int) -> int:
    """The largest divisor of n that is at most `most`, or 1."""
    return next((size for size in range(min(most, n), 0, -1) if n % size == 0), 1)


def in_turn(f: Callable[..., Any], scores: int, x: Operands, *more: Any) -> Any:
    """f(x, *more), for a few examples and heads after the others.

    Args:
      scores: of a matrix.
      more: trees of arrays [batch, tokens, heads, ...], as are the results of f.
    """
    if at_a_time(x, scores) == (x.q.shape[0], x.q.shape[2]):
        return f(x, *more)

    def each(x: Operands, *more: Any) -> Any:
        (batch, _, heads, _), (examples, columns) = x.q.shape, at_a_time(x, scores)

        def corner(y: Array, index: Array) -> list[Any]:
            example, column = jnp.divmod(index, heads // columns)
            return [example * examples, 0, column * columns if y.shape[2] > 1 else 0, *[0] * (y.ndim - 3)]

        def run(index: Array) -> Any:
            size = lambda y: (examples, y.shape[1], min(columns, y.shape[2]), *y.shape[3:])
            part, *beside = jax.tree.map(lambda y: lax.dynamic_slice(y, corner(y, index), size(y)), (x, *more))
            return f(part if x.seeds is None else part._replace(seeds=part.seeds[:, 0]), *beside)

        def body(out: Any, index: Array) -> tuple[Any, None]:
            place = lambda y, new: lax.dynamic_update_slice(y, new, corner(y, index))
            return jax.tree.map(place, out, run(index)), None

        indices = jnp.arange(batch * heads // (examples * columns))
        empty = jax.tree.map(
            lambda y: jnp.zeros((batch, y.shape[1], heads, *y.shape[3:]), y.dtype), jax.eval_shape(run, indices[0])
        )
        return lax.scan(body, empty, indices)[0]

    if x.seeds is not None:
        x = x._replace(seeds=x.seeds[:, None])
    return folds_vmap(each)(x, *more)
