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
    Sums over the length are in float32. Equations 4 to 6 of Katharopoulos et al. 2020 (2006.16236).
    """
    f32 = {"preferred_element_type": jnp.float32}
    state = jnp.einsum("bkhm,bkhd->bhmd", phi_k, v, **f32)
    normaliser = phi_k.astype(jnp.float32).sum(1)
    above = jnp.einsum("bqhm,bhmd->bqhd", phi_q, state, **f32)
    below = jnp.einsum("bqhm,bhm->bqh", phi_q, normaliser, **f32)
    return (above / (below[..., None] + epsilon)).astype(v.dtype)
