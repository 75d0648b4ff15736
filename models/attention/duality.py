"""What the layers of state space duality share: linear recurrences with a data-dependent decay for each head, in two
ways.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lra.models.kernels.linear_attention import linear_attention


def state_space(
    c: Float[Array, "batch length ways #heads state"],
    b: Float[Array, "batch length ways #heads state"],
    v: Float[Array, "batch length ways heads width"],
    log_decay: Float[Array, "batch length ways heads"],
) -> Float[Array, "batch length ways heads width"]:
    """y_t = S_t^T c_t with S_t = exp(log_decay_t) S_{t-1} + b_t v_t^T, in each head and way."""

    def fold(x: Array) -> Array:
        x = jnp.broadcast_to(x, (*log_decay.shape, x.shape[-1]))
        return x.reshape(*x.shape[:2], -1, x.shape[-1])

    y = linear_attention(fold(c), fold(b), fold(v), causal=True, log_decay=fold(log_decay[..., None]))
    return y.reshape(v.shape)
