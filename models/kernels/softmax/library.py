"""What libraries need to compute softmax attention: lengths in place of masks, and the gradient from their own.

A library takes the number of keys of each example. So the keys that are seen move to the front, which attention to all
keys does not notice. The backward pass runs the forward pass again, as no library hands out what it keeps.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lra.models.kernels.softmax.operands import Gradient, Kept, Operands, Static
from lra.models.kernels.softmax.pattern import CAUSAL, FULL


class Dense(NamedTuple):
    """What a library is given."""

    q: Float[Array, "batch queries heads head_dim"]
    k: Float[Array, "batch keys heads head_dim"]
    v: Float[Array, "batch keys heads value_dim"]
    lengths: Int[Array, " batch"] | None  # of the keys, at least 1; None: all are seen
    causal: bool


Attention = Callable[[Dense], Float[Array, "batch queries heads value_dim"]]


def admits(static: Static, x: Operands) -> None:
    """Raises NotImplementedError for what no library has."""
    types = {y.dtype.name for y in (x.q, x.k, x.v)}
    if len(types) > 1 or not types <= {"bfloat16", "float16"}:
        raise NotImplementedError(f"{', '.join(sorted(types))}: q, k and v must be bfloat16, or all float16")
    if static.pattern not in (FULL, CAUSAL):
        raise NotImplementedError(f"{static.pattern}: the library has attention to all keys and causal attention")
    if static.pattern == CAUSAL and x.q.shape[1] != x.k.shape[1]:
        raise NotImplementedError(f"{x.q.shape[1]} queries and {x.k.shape[1]} keys in causal attention")
    if x.mask is not None and (static.pattern == CAUSAL or x.mask.shape[2] > 1):
        raise NotImplementedError("a mask in causal attention, or of each head: the library takes lengths")
    for name in ("allowed", "bias", "seeds"):
        if getattr(x, name) is not None:
            raise NotImplementedError(f"{'dropout' if name == 'seeds' else name}: the library has none like it")
    if static.lse:
        raise NotImplementedError("lse: the library has no denominators with a gradient")


def forward(attention: Attention, static: Static, x: Operands) -> tuple[Array, Array]:
    """The output, and 0 for the denominators, of which `static` says that nobody reads them."""
    if x.mask is None:
        out = attention(dense(static, x))
    else:
        seen = x.mask[:, :, 0]
        out = jnp.where(some(seen), attention(dense(static, in_front(x, order(seen)), seen)), 0)
    return out, jnp.zeros(out.shape[:-1])


def backward(attention: Attention, static: Static, kept: Kept, dy: Gradient) -> tuple[Array, Array, Array, None]:
    """The gradients of q, k and v."""
    x, d_out = kept.x, dy.d_out
    if x.mask is None:
        return *gradients(attention, dense(static, x), d_out), None
    seen = x.mask[:, :, 0]
    there = order(seen)
    d_out = jnp.where(some(seen), d_out, 0)  # with one key, d q is 0 but for rounding
    d_q, d_k, d_v = gradients(attention, dense(static, in_front(x, there), seen), d_out)
    back = jnp.argsort(there, axis=1)  # a gather, where JAX would scatter
    d_k, d_v = (jnp.where(x.mask[..., None], take(y, back), 0) for y in (d_k, d_v))
    return d_q, d_k, d_v, None


def gradients(attention: Attention, x: Dense, d_out: Array) -> tuple[Array, Array, Array]:
    attend = lambda q, k, v: attention(x._replace(q=q, k=k, v=v))
    return jax.vjp(attend, x.q, x.k, x.v)[1](d_out)


def dense(static: Static, x: Operands, seen: Bool[Array, "batch keys"] | None = None) -> Dense:
    lengths = None if seen is None else jnp.maximum(seen.sum(1, dtype=jnp.int32), 1)
    return Dense(x.q, x.k, x.v, lengths, static.pattern == CAUSAL)


def in_front(x: Operands, order: Int[Array, "batch keys"]) -> Operands:
    return x._replace(k=take(x.k, order), v=take(x.v, order))


def order(seen: Bool[Array, "batch keys"]) -> Int[Array, "batch keys"]:
    """Where each key comes from if those that are seen move to the front."""
    return jnp.argsort(~seen, axis=1, stable=True)


def take(x: Float[Array, "batch keys heads width"], order: Int[Array, "batch keys"]) -> Array:
    return x.at[jnp.arange(len(x))[:, None], order].get(mode="promise_in_bounds")


def some(seen: Bool[Array, "batch keys"]) -> Bool[Array, "batch 1 1 1"]:
    """Whether an example has a key. The library gets one anyway."""
    return seen.any(1)[:, None, None, None]
