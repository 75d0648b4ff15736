"""What layers share that read a sequence in two ways, forward and backward, with parameters of their own for each."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Shaped

WAYS = 2  # forward and backward


def both_ways(x: Shaped[Array, "batch length ..."]) -> Shaped[Array, "batch length ways=2 ..."]:
    """The tokens in the order of each way."""
    return jnp.stack([x, jnp.flip(x, 1)], 2)


def turned(x: Shaped[Array, "batch length ways=2 ..."]) -> Shaped[Array, "batch length ways=2 ..."]:
    """The tokens of the second way in reverse: from the order of the sequence to that of each way, or back."""
    return jnp.stack([x[:, :, 0], jnp.flip(x[:, :, 1], 1)], 2)


def convolve(
    x: Float[Array, "batch length *channels"], taps: nnx.Param, bias: nnx.Param | None, before: int
) -> Float[Array, "batch length *channels"]:
    """The depthwise convolution y_t = sum_s taps_s x_{t - before + s} + bias, in float32. x is 0 beyond its ends."""
    weights, length = taps.get_value().astype(jnp.float32), x.shape[1]
    padded = jnp.pad(x, ((0, 0), (before, len(weights) - 1 - before), *[(0, 0)] * (x.ndim - 2)))
    y = sum(padded[:, s : s + length] * tap for s, tap in enumerate(weights))
    if bias is not None:
        y = y + bias.get_value().astype(jnp.float32)
    return y.astype(x.dtype)


def of_convolution(conv: int, *sizes: int, rngs: nnx.Rngs) -> nnx.Param:
    """A parameter of a depthwise convolution of `conv` tokens, as PyTorch draws its kernel and its bias."""
    return nnx.Param(jax.random.uniform(rngs.params(), sizes, minval=-(conv**-0.5), maxval=conv**-0.5))


def step_bias(*sizes: int, rngs: nnx.Rngs) -> nnx.Param:
    """The number that is added to dt before softplus. dt starts between 0.001 and 0.1, uniform in its logarithm."""
    dt = jnp.exp(jax.random.uniform(rngs.params(), sizes, minval=jnp.log(1e-3), maxval=jnp.log(1e-1)))
    return nnx.Param(dt + jnp.log(-jnp.expm1(-dt)))  # softplus of it is dt
