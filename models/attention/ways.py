"""What recurrent layers share that run in two ways, forward and backward.

Axis 2 says which. In the second way the tokens stand in reverse.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Shaped

from lra.models.kernels.linear_attention import linear_attention

WAYS = 2


def both_ways(x: Shaped[Array, "batch length ..."]) -> Shaped[Array, "batch length ways ..."]:
    """The tokens, and the tokens in reverse."""
    return jnp.stack([x, jnp.flip(x, 1)], 2)


def turned(x: Float[Array, "batch length ways ..."]) -> Float[Array, "batch length ways ..."]:
    """The tokens of the second way the other way round."""
    forward, backward = jnp.unstack(x, axis=2)
    return jnp.stack([forward, jnp.flip(backward, 1)], 2)


def matrix_state(
    q: Float[Array, "batch length ways #heads key_dim"],
    k: Float[Array, "batch length ways #heads key_dim"],
    v: Float[Array, "batch length ways heads value_dim"],
    log_decay: Float[Array, "batch length ways heads"],
) -> Float[Array, "batch length ways heads value_dim"]:
    """y_t = S_t^T q_t with S_t = exp(log_decay_t) S_{t-1} + k_t v_t^T, in each head and way."""

    def fold(x: Array) -> Array:
        x = jnp.broadcast_to(x, (*log_decay.shape, x.shape[-1]))
        return x.reshape(*x.shape[:2], -1, x.shape[-1])

    y = linear_attention(fold(q), fold(k), fold(v), causal=True, log_decay=fold(log_decay[..., None]))
    return y.reshape(v.shape)


def convolve(
    x: Float[Array, "batch length *channels"], taps: nnx.Param, bias: nnx.Param | None, before: int
) -> Float[Array, "batch length *channels"]:
    """The depthwise convolution y_t = sum_s taps_s x_{t - before + s} + bias, in float32. x is 0 beyond its ends."""
    weights, length = taps.get_value().astype(jnp.float32), x.shape[1]
    padded = jnp.pad(x, ((0, 0), (before, len(weights) - 1 - before), *[(0, 0)] * (x.ndim - 2)))
    y = sum(padded[:, s : s + length] * tap for s, tap in enumerate(weights))
    return (y if bias is None else y + bias.get_value().astype(jnp.float32)).astype(x.dtype)


def convolution(sizes: tuple[int, ...], rngs: nnx.Rngs) -> tuple[nnx.Param, nnx.Param]:
    """Taps of the sizes [taps, *channels], and a bias: uniform up to 1 / sqrt(taps), as PyTorch draws them."""
    bound = sizes[0] ** -0.5
    draw = lambda sizes: nnx.Param(jax.random.uniform(rngs.params(), sizes, minval=-bound, maxval=bound))
    return draw(sizes), draw(sizes[1:])


def step_bias(sizes: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Param:
    """What is added to dt before softplus. dt starts between 0.001 and 0.1, uniform in its logarithm."""
    dt = jnp.exp(jax.random.uniform(rngs.params(), sizes, minval=jnp.log(1e-3), maxval=jnp.log(1e-1)))
    return nnx.Param(dt + jnp.log(-jnp.expm1(-dt)))  # softplus of it is dt
