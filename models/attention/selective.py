"""What the selective state spaces share: recurrences whose steps, inputs and outputs depend on the token."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Inexact

from lra.models.attention.multihead import projection
from lra.models.attention.shape import Shape
from lra.models.attention.ways import WAYS, both_ways, convolution, convolve, turned
from lra.models.kernels.blocks import pad_to_multiple
from lra.models.kernels.recurrence import diagonal_recurrence

CHANNELS = 16  # channels whose states are kept at once: those of all would be as many times larger as there are states


def selective_scan(
    x: Float[Array, "batch length ways channels"],
    dt: Float[Array, "batch length ways channels"],
    a: Inexact[Array, "ways state channels"],
    b: Inexact[Array, "batch length ways state"],
    c: Inexact[Array, "batch length ways state"],
    bias: Inexact[Array, "ways state channels"] | float = 0.0,
) -> Float[Array, "batch length ways channels"]:
    """h_t = exp(dt_t A) h_{t-1} + dt_t (B_t + bias) x_t, y_t = Re(C_t . h_t) in each channel, in float32.

    The channels are taken some at a time, and the backward pass computes their states again.
    """
    channels = x.shape[-1]
    part = min(CHANNELS, channels)
    bias = jnp.broadcast_to(jnp.asarray(bias, a.dtype), a.shape)

    @jax.checkpoint
    def some(inputs: tuple[Array, Array, Array, Array]) -> Array:
        x, dt, a, bias = inputs
        driven = (dt * x)[..., None, :] * (b[..., None] + bias)
        h = diagonal_recurrence(dt[..., None, :] * a, driven)
        return (h * c[..., None]).real.sum(-2)

    def cut(y: Array) -> Array:
        y = pad_to_multiple(y, part, -1)
        return jnp.moveaxis(y.reshape(*y.shape[:-1], -1, part), -2, 0)

    y = jnp.moveaxis(jax.lax.map(some, (cut(x), cut(dt), cut(a), cut(bias))), 0, -2)
    return y.reshape(*y.shape[:-2], -1)[..., :channels]


class MambaBlock(nnx.Module):
    """z, x = u W_in; x = silu(conv(x)); the output is (y * silu(z)) W_out, y the sum of the state spaces of both
    directions and of D x. A subclass has the state spaces.

    Padding is 0 before the convolution and after it, whose bias would fill it.
    """

    def __init__(self, shape: Shape, width: int, conv: int, rngs: nnx.Rngs):
        self.into = projection(shape.dim, 2 * width, rngs)
        self.conv, self.conv_bias = convolution((conv, WAYS, width), rngs)
        self.skip = nnx.Param(jnp.ones((WAYS, width)))  # D
        self.out = projection(width, shape.dim, rngs)

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        inner, z = jnp.split(self.into(x), 2, -1)
        real = both_ways(mask)[..., None]
        inner = convolve(jnp.where(real, both_ways(inner), 0), self.conv, self.conv_bias, before=self.conv.shape[0] - 1)
        inner = jnp.where(real, nnx.silu(inner), 0)
        y = self.state_spaces(inner, real) + self.skip.get_value().astype(jnp.float32) * inner
        return self.out((turned(y).sum(2) * nnx.silu(z)).astype(x.dtype)).astype(x.dtype)

    def state_spaces(
        self, x: Float[Array, "batch length ways width"], real: Bool[Array, "batch length ways 1"]
    ) -> Float[Array, "batch length ways width"]:
        raise NotImplementedError
