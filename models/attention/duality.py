"""What the layers of state space duality share: linear recurrences with a data-dependent decay for each head, in two
ways, one for each direction.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from lra.models.kernels.linear_attention import linear_attention

WAYS = 2  # forward and backward


def step_bias(sizes: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Param:
    """The number that is added to dt before softplus. dt starts between 0.001 and 0.1, uniform in its logarithm."""
    dt = jnp.exp(jax.random.uniform(rngs.params(), sizes, minval=jnp.log(1e-3), maxval=jnp.log(1e-1)))
    return nnx.Param(dt + jnp.log(-jnp.expm1(-dt)))  # softplus of it is dt


def turned(x: Float[Array, "batch length ways ..."]) -> Float[Array, "batch length ways ..."]:
    """The tokens of the second way in reverse."""
    forward, backward = jnp.unstack(x, axis=2)
    return jnp.stack([forward, jnp.flip(backward, 1)], 2)


def convolve(
    x: Float[Array, "batch length *channels"], taps: nnx.Param, bias: nnx.Param, before: int
) -> Float[Array, "batch length *channels"]:
    """The depthwise convolution y_t = sum_s taps_s x_{t - before + s} + bias, in float32. x is 0 beyond its ends."""
    weights, length = taps.get_value().astype(jnp.float32), x.shape[1]
    padded = jnp.pad(x, ((0, 0), (before, len(weights) - 1 - before), *[(0, 0)] * (x.ndim - 2)))
    y = sum(padded[:, s : s + length] * tap for s, tap in enumerate(weights)) + bias.get_value().astype(jnp.float32)
    return y.astype(x.dtype)


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
