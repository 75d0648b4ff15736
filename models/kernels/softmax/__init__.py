"""Softmax attention of blocks of queries to blocks of keys, with the log-sum-exp that merges parts."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from lra.models.kernels.blocks import from_blocks, into_blocks, pad_to_multiple, with_neighbours

__all__ = [
    "NO_DROPOUT",
    "Dropout",
    "attend",
    "attend_window",
    "from_blocks",
    "into_blocks",
    "merge",
    "pad_to_multiple",
    "with_neighbours",
]


class Dropout(NamedTuple):
    """Dropout of attention probabilities, element by element; a key of None turns it off."""

    rate: float = 0.0
    key: Key[Array, ""] | None = None

    def fold_in(self, index: Array | int) -> "Dropout":
        """One independent of it, for part `index` of the probabilities."""
        return self if self.key is None else Dropout(self.rate, jax.random.fold_in(self.key, index))

    def __call__(self, probabilities: Array) -> Array:
        if self.key is None or self.rate == 0.0:
            return probabilities
        kept = jax.random.bernoulli(self.key, 1 - self.rate, probabilities.shape)
        return jnp.where(kept, probabilities / (1 - self.rate), 0)


NO_DROPOUT = Dropout()


def attend(
    q: Float[Array, "*blocks queries heads head_dim"],
    k: Float[Array, "*blocks keys heads head_dim"],
    v: Float[Array, "*blocks keys heads value_dim"],
    allowed: Bool[Array, "*#blocks #heads #queries #keys"],
    dropout: Dropout = NO_DROPOUT,
    bias: Float[Array, "*#blocks #heads #queries #keys"] | float = 0.0,
) -> tuple[Float[Array, "*blocks queries heads value_dim"], Float[Array, "*blocks queries heads"]]:
    """softmax(q k^T / sqrt(head_dim) + bias) v over the allowed keys (Vaswani et al. 2017, 1706.03762, equation 1).

    Logits, softmax and sums are in float32. A query without an allowed key gets 0.

    Returns:
      the output in the type of v, and the logarithm of the softmax denominators in float32 (-inf for a query
      without a key).
    """
    logits = jnp.einsum("...qhd,...khd->...hqk", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
    logits = jnp.where(allowed, logits + bias, -jnp.inf)
    top = jax.lax.stop_gradient(logits.max(-1, keepdims=True, initial=-jnp.inf))
    top = jnp.where(jnp.isfinite(top), top, 0)  # -inf - -inf is NaN
    weights = jnp.exp(logits - top)
    total = weights.sum(-1, keepdims=True)
    seen = total > 0
    total = jnp.where(seen, total, 1)
    probabilities = dropout(weights / total).astype(v.dtype)
    out = jnp.einsum("...hqk,...khd->...qhd", probabilities, v, preferred_element_type=jnp.float32)
    lse = jnp.where(seen, jnp.log(total) + top, -jnp.inf)[..., 0]
    return out.astype(v.dtype), jnp.swapaxes(lse, -1, -2)


def merge(
    parts: Sequence[tuple[Float[Array, "*queries value_dim"], Float[Array, "*queries"]]],
) -> Float[Array, "*queries value_dim"]:
    """The sum of outputs, each weighted with its share of the softmax denominators.

    Of parts that `attend` to disjoint sets of keys, it is the softmax over all of these keys. A query without a key
    in any part gets 0.
    """
    outs, denominators = (jnp.stack(column) for column in zip(*parts))
    top = jnp.max(denominators, 0, initial=jnp.finfo(jnp.float32).min)
    share = jnp.exp(denominators - jax.lax.stop_gradient(top))
    total = share.sum(0)
    share = share / jnp.where(total > 0, total, 1)
    return (share[..., None] * outs).sum(0).astype(outs.dtype)


def attend_window(
    q: Float[Array, "batch length heads head_dim"],
    k: Float[Array, "batch length heads head_dim"],
    v: Float[Array, "batch length heads value_dim"],
    seen: Bool[Array, "batch length"],
    radius: int,
    dropout: Dropout = NO_DROPOUT,
) -> tuple[Float[Array, "batch length heads value_dim"], Float[Array, "batch length heads"]]:
    """`attend` of token i to the tokens j with |i - j| <= radius that may be seen at all.

    Memory is linear in the length: a block of `radius` queries looks at three blocks of keys.
    """
    length = q.shape[1]
    block = max(min(radius, length), 1)
    near = jnp.abs(jnp.arange(3 * block)[None, :] - block - jnp.arange(block)[:, None]) <= radius
    keys, values, seen = (with_neighbours(into_blocks(x, block)) for x in (k, v, seen))
    parts = attend(into_blocks(q, block), keys, values, near & seen[:, :, None, None, :], dropout)
    out, lse = (from_blocks(x, length) for x in parts)
    return out, lse
