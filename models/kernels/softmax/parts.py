"""Softmax attention to the union of sets of keys, from the attention to each."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def merge(
    parts: Sequence[tuple[Float[Array, "*queries value_dim"], Float[Array, "*queries"]]],
) -> Float[Array, "*queries value_dim"]:
    """The sum of outputs, each weighted with its share of the softmax denominators.

    If the parts are outputs of `attend` for disjoint sets of keys, the sum is the softmax over all of these keys. A
    query without a key in any part gets 0.
    """
    outs, denominators = (jnp.stack(column) for column in zip(*parts))
    top = jnp.max(denominators, 0, initial=jnp.finfo(jnp.float32).min)
    share = jnp.exp(denominators - jax.lax.stop_gradient(top))
    total = share.sum(0)
    share = share / jnp.where(total > 0, total, 1)
    return (share[..., None] * outs).sum(0).astype(outs.dtype)
