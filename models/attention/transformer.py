"""transformer: softmax attention of every token to every token."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lra.models.attention.registry import register_attention
from lra.models.kernels.softmax import NO_DROPOUT, Dropout, attend, pad_to_multiple
from lra.models.oracles.transformer import oracle

QUERIES = 512  # at a time, so that the memory is that of 512 rows of the attention matrix and not of all


@register_attention("transformer", oracle=oracle, paper="Vaswani et al. 2017, 1706.03762", cost="L^2 d")
def transformer(
    q: Float[Array, "batch length heads head_dim"],
    k: Float[Array, "batch length heads head_dim"],
    v: Float[Array, "batch length heads head_dim"],
    mask: Bool[Array, "batch length"],
    dropout: Dropout = NO_DROPOUT,
) -> Float[Array, "batch length heads head_dim"]:
    """softmax(q k^T / sqrt(head_dim)) v over the real tokens (equation 1)."""
    allowed = mask[:, None, None, :]
    length = q.shape[1]
    if length <= QUERIES:
        return attend(q, k, v, allowed, dropout)[0]

    @jax.checkpoint
    def rows(part: tuple[Array, Array]) -> Array:
        index, queries = part
        return attend(queries, k, v, allowed, dropout.fold_in(index))[0]

    parts = pad_to_multiple(q, QUERIES)
    parts = jnp.moveaxis(parts.reshape(q.shape[0], -1, QUERIES, *q.shape[2:]), 1, 0)
    out = jax.lax.map(rows, (jnp.arange(len(parts)), parts))
    return jnp.moveaxis(out, 0, 1).reshape(q.shape[0], -1, *v.shape[2:])[:, :length]
