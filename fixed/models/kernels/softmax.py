"""Softmax attention of blocks of queries to blocks of keys, with the log-sum-exp that merges parts."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key


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
) -> tuple[Float[Array, "*blocks queries heads value_dim"], Float[Array, "*blocks queries heads"]]:
    """softmax(q k^T / sqrt(head_dim)) v over the allowed keys (Vaswani et al. 2017, 1706.03762, equation 1).

    Logits, softmax and sums are in float32. A query without an allowed key gets 0.

    Returns:
      the output in the type of v, and the logarithm of the softmax denominators in float32 (-inf for a query
      without a key).
    """
    logits = jnp.einsum("...qhd,...khd->...hqk", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
    logits = jnp.where(allowed, logits, -jnp.inf)
    top = jax.lax.stop_gradient(logits.max(-1, keepdims=True))
    top = jnp.where(jnp.isfinite(top), top, 0)  # -inf - -inf is NaN
    weights = jnp.exp(logits - top)
    total = weights.sum(-1, keepdims=True)
    seen = total > 0
    total = jnp.where(seen, total, 1)
    probabilities = dropout(weights / total).astype(v.dtype)
    out = jnp.einsum("...hqk,...khd->...qhd", probabilities, v, preferred_element_type=jnp.float32)
    lse = jnp.where(seen, jnp.log(total) + top, -jnp.inf)[..., 0]
    return out.astype(v.dtype), jnp.swapaxes(lse, -1, -2)


def pad_to_multiple(x: Array, multiple: int, axis: int = 1) -> Array:
    """Zeros (False for a mask) appended along `axis` up to the next multiple; none if there already."""
    missing = -x.shape[axis] % multiple
    return jnp.pad(x, [(0, missing if i == axis % x.ndim else 0) for i in range(x.ndim)])
