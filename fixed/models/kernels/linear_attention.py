"""Linear attention: softmax's kernel replaced by an inner product of feature maps, so that keys are summed once."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def linear_attention(
    phi_q: Float[Array, "batch queries heads features"],
    phi_k: Float[Array, "batch keys heads features"],
    v: Float[Array, "batch keys heads value_dim"],
    epsilon: float,
) -> Float[Array, "batch queries heads value_dim"]:
    """phi(q_i)^T sum_j phi(k_j) v_j^T / (phi(q_i)^T sum_j phi(k_j) + epsilon), not causal.

    A padded key must come with phi_k = 0: masking x before the feature map is not enough, since phi(0) is not 0.
    All is computed in float32. A query without a key gets 0.
    Equations 4 to 6 of Katharopoulos et al. 2020 (2006.16236).
    """
    phi_q, phi_k, values = (x.astype(jnp.float32) for x in (phi_q, phi_k, v))
    state = jnp.einsum("bkhm,bkhd->bhmd", phi_k, values)
    above = jnp.einsum("bqhm,bhmd->bqhd", phi_q, state)
    below = jnp.einsum("bqhm,bhm->bqh", phi_q, phi_k.sum(1))[..., None]
    return (above / jnp.where(below > 0, below + epsilon, 1)).astype(v.dtype)
