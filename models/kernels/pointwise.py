"""Attention whose weights are a function of each logit alone, with no sum to divide by."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lra.models.kernels.softmax import NO_DROPOUT, Dropout


def attend_pointwise(
    weight: Callable[[Float[Array, "*batch heads queries keys"]], Float[Array, "*batch heads queries keys"]],
    q: Float[Array, "*batch queries heads head_dim"],
    k: Float[Array, "*batch keys heads head_dim"],
    v: Float[Array, "*batch keys heads value_dim"],
    mask: Bool[Array, "*#batch keys"],
    dropout: Dropout = NO_DROPOUT,
) -> Float[Array, "*batch queries heads value_dim"]:
    """weight(q k^T) v over the keys that the mask leaves; products, weights and sums are in float32.

    All weights are in memory at once. A caller cuts long sequences into blocks, of queries alone or of queries and
    keys.
    """
    products = jnp.einsum("...qhd,...khd->...hqk", q, k, preferred_element_type=jnp.float32)
    weights = dropout(jnp.where(mask[..., None, None, :], weight(products), 0)).astype(v.dtype)
    return jnp.einsum("...hqk,...khd->...qhd", weights, v, preferred_element_type=jnp.float32)
