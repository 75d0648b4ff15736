"""Softmax attention in Mosaic TPU kernels: forward, and backward once by queries and once by keys.

Arrays are [batch, heads, width, length] and tiles of logits [keys, queries]: the length fills the 128 lanes however
narrow a head is, maxima and sums run over sublanes, and what belongs to a query, like its denominator, is a row.

A step of the grid is one tile for one or more heads. The tiles of a line of queries (or of keys) come one after the
other and add up in scratch memory (Dao et al. 2022, 2205.14135; Rabe and Staats 2021, 2112.05682). A padded key costs
a look at a table.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lra.models.kernels.mosaic_tpu import NN, NT, TN, dot
from lra.models.kernels.softmax.operands import Gradient, Kept, Operands, Static
from lra.models.kernels.softmax.tpu_tiling import examples_at_once
from lra.models.kernels.softmax.tpu_visit import FLOOR, Kernel, Refs, Visit, scale, tiling_for


def admits(static: Static, x: Operands) -> None:
    """Raises NotImplementedError for a bias, for types but bfloat16 and float32, and where no tiling fits."""
    if x.bias is not None:
        raise NotImplementedError("bias: its gradient is a matrix of all pairs, which the kernels never hold")
    types = {y.dtype.name for y in (x.q, x.k, x.v)}
    if len(types) > 1 or not types <= {"bfloat16", "float32"}:
        raise NotImplementedError(f"{', '.join(sorted(types))}: q, k and v must be bfloat16, or all float32")
    tiling_for(x, static.pattern)


def forward(
    static: Static, x: Operands
) -> tuple[Float[Array, "batch queries heads value_dim"], Float[Array, "batch queries heads"]]:
    return in_parts(forward_at_once, static, x, x)


def backward(static: Static, kept: Kept, dy: Gradient) -> tuple[Array, Array, Array, None]:
    """The gradients of q, k and v."""
    return in_parts(backward_at_once, static, kept.x, kept, dy)


def in_parts(f: Callable[..., Any], static: Static, x: Operands, *args: Any) -> Any:
    """f(static, *args) for as many examples at a time as scalar memory has room for numbers of them."""
    batch, most = len(x.q), examples_at_once(tiling_for(x, static.pattern), x.q.shape[2], x.seeds is not None)
    if batch <= most:
        return f(static, *args)
    some = lambda start: jax.tree.map(lambda y: y[start : start + most], args)
    parts = [f(static, *some(start)) for start in range(0, batch, most)]
    return jax.tree.map(lambda *y: jnp.concatenate(y), *parts)


def forward_at_once(static: Static, x: Operands) -> tuple[Array, Array]:
    width = x.v.shape[-1]
    out, lse = Visit(static, x, by_keys=False)(attend, {}, [(width, x.v.dtype), (1, jnp.float32)], [1, 1, width])
    return out, lse[..., 0]


def backward_at_once(static: Static, kept: Kept, dy: Gradient) -> tuple[Array, Array, Array, None]:
    x = kept.x
    of_queries = {"lse": kept.lse[..., None], "delta": dy.delta[..., None], "d_out": dy.d_out}
    q, k, v = ((y.shape[-1], y.dtype) for y in (x.q, x.k, x.v))
    (d_q,) = Visit(static, x, by_keys=False)(gradient_of_queries, of_queries, [q], [q[0]])
    d_k, d_v = Visit(static, x, by_keys=True)(gradient_of_keys, of_queries, [k, v], [k[0], v[0]])
    return d_q, d_k, d_v, None


def attend(x: Refs, out: Any, lse: Any, top: Any, total: Any, acc: Any) -> Kernel:
    def start() -> None:
        top[...] = jnp.full_like(top, FLOOR)
        clear(total, acc)

    def add(n: int, s: Array, drop: Callable[[Array], Array]) -> None:
        new = jnp.maximum(top[n], s.max(0, keepdims=True))
        p, fade = jnp.exp(s - new), jnp.exp(top[n] - new)
        top[n] = new
        total[n] = fade * total[n] + p.sum(0, keepdims=True)
        acc[n] = fade * acc[n] + dot(x["v"][n], drop(p), NN, x["v"].dtype)

    def finish() -> None:
        alone = total[...] == 0
        denominator = jnp.where(alone, 1, total[...])
        out[...] = (acc[...] / denominator).astype(out.dtype)
        lse[...] = jnp.where(alone, -jnp.inf, top[...] + jnp.log(denominator))

    return Kernel(start, add, finish)


def gradient_of_queries(x: Refs, d_q: Any, acc: Any) -> Kernel:
    def add(n: int, s: Array, drop: Callable[[Array], Array]) -> None:
        _, d_s = probabilities(x, n, s, drop)
        acc[n] += dot(x["k"][n], d_s, NN, x["k"].dtype)

    def finish() -> None:
        d_q[...] = (acc[...] * scale(x)).astype(d_q.dtype)

    return Kernel(lambda: clear(acc), add, finish)


def gradient_of_keys(x: Refs, d_k: Any, d_v: Any, acc_k: Any, acc_v: Any) -> Kernel:
    def add(n: int, s: Array, drop: Callable[[Array], Array]) -> None:
        p, d_s = probabilities(x, n, s, drop)
        acc_v[n] += dot(x["d_out"][n], drop(p), NT, x["d_out"].dtype)
        acc_k[n] += dot(x["q"][n], d_s, NT, x["q"].dtype)

    def finish() -> None:
        d_k[...] = (acc_k[...] * scale(x)).astype(d_k.dtype)
        d_v[...] = acc_v[...].astype(d_v.dtype)

    return Kernel(lambda: clear(acc_k, acc_v), add, finish)


def probabilities(x: Refs, n: int, s: Array, drop: Callable[[Array], Array]) -> tuple[Array, Array]:
    """The probabilities of head n in a tile, and the gradient of its logits."""
    p = jnp.exp(s - x["lse"][n])
    return p, p * (drop(dot(x["v"][n], x["d_out"][n], TN, x["v"].dtype)) - x["delta"][n])


def clear(*refs: Any) -> None:
    for ref in refs:
        ref[...] = jnp.zeros_like(ref)
