"""sigmoid: each weight is the sigmoid of its logit, and no row is normalised."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lra.models.attention.registry import register_attention
from lra.models.kernels.blocks import from_blocks, into_blocks
from lra.models.kernels.pointwise import attend_pointwise
from lra.models.oracles.sigmoid import oracle

ROWS = 256  # queries whose weights are in memory at once


@register_attention("sigmoid", oracle=oracle, paper="Ramapuram et al. 2025, 2409.04431", cost="L^2 d")
def sigmoid(
    q: Float[Array, "batch length heads head_dim"],
    k: Float[Array, "batch length heads head_dim"],
    v: Float[Array, "batch length heads head_dim"],
    mask: Bool[Array, "batch length"],
) -> Float[Array, "batch length heads head_dim"]:
    """sigmoid(q k^T / sqrt(head_dim) - log n) v, with n the number of real keys of the example (equation 3, and the
    bias of section 4). So all weights together are about 1 as long as the logits are small.

    The authors leave n to the caller, and their code's default is no bias. The padded length in its place would make
    the outputs depend on the padding.
    """
    length, bias = q.shape[1], -jnp.log(jnp.maximum(mask.sum(1), 1))[:, None, None, None]
    weight = lambda products: jax.nn.sigmoid(products * q.shape[-1] ** -0.5 + bias)
    rows = jax.checkpoint(lambda queries: attend_pointwise(weight, queries, k, v, mask))
    if length <= ROWS:
        return rows(q).astype(v.dtype)
    y = jax.lax.map(rows, jnp.moveaxis(into_blocks(q, ROWS), 1, 0))
    return from_blocks(jnp.moveaxis(y, 0, 1), length).astype(v.dtype)
