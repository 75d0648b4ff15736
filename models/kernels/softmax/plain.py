"""Softmax attention in XLA with the whole matrix of scores, differentiated by JAX: nothing is computed again, and the
probabilities are kept. It is for short sequences; the chunked form of xla.py has memory for long ones.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lra.models.kernels.softmax import dropout
from lra.models.kernels.softmax.operands import Operands, Static
from lra.models.kernels.softmax.pattern import FULL
from lra.models.kernels.softmax.xla import product, scale_of


def admits(static: Static, x: Operands) -> None:
    """XLA admits all operands."""


def forward(
    static: Static, x: Operands
) -> tuple[Float[Array, "batch queries heads value_dim"], Float[Array, "batch queries heads"]]:
    logits = product("bqhd,bkhd->bhqk", x.q, x.k) * scale_of(x.q)
    if x.bias is not None:
        logits += x.bias
    # It is added, so that the gradient keeps no mask: where a weight is 0, its gradient is 0.
    for seen in seen_by(static, x):
        logits += jnp.where(seen, 0, -jnp.inf)
    top = jax.lax.stop_gradient(logits.max(-1, keepdims=True))
    top = jnp.where(jnp.isfinite(top), top, 0)  # -inf - -inf is NaN
    weights = jnp.exp(logits - top)
    total = weights.sum(-1, keepdims=True)
    alone = total == 0
    total = jnp.where(alone, 1, total)
    lse = jnp.where(alone, -jnp.inf, jnp.log(total) + top)[..., 0]
    out = product("bhqk,bkhe->bhqe", dropped(static, x, weights).astype(x.v.dtype), x.v) / total
    return jnp.swapaxes(out.astype(x.v.dtype), 1, 2), jnp.swapaxes(lse, 1, 2)


def seen_by(static: Static, x: Operands) -> list[Bool[Array, "#batch #heads #queries keys"]]:
    """Rules, all of which a pair must meet to be seen."""
    seen = []
    if static.pattern != FULL:
        i, j = (jnp.arange(n, dtype=jnp.int32) for n in (x.q.shape[1], x.k.shape[1]))
        seen.append(jnp.asarray(static.pattern.allowed(i[:, None], j))[None, None])
    if x.mask is not None:
        seen.append(jnp.swapaxes(x.mask, 1, 2)[:, :, None])
    if x.allowed is not None:
        seen.append(x.allowed)
    return seen


def dropped(
    static: Static, x: Operands, weights: Float[Array, "batch heads queries keys"]
) -> Float[Array, "batch heads queries keys"]:
    if x.seeds is None:
        return weights
    row, column = (jax.lax.broadcasted_iota(jnp.int32, weights.shape[2:], axis) for axis in (0, 1))
    keep = dropout.kept(x.seeds[:, :, None, None], row, column, static.rate)
    return jnp.where(keep, weights / (1 - static.rate), 0)
