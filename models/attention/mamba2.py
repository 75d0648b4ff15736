"""mamba2: the state space duality layer, a linear recurrence with one data-dependent decay a head, both ways."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.multihead import merge_heads, projection
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.attention.ways import WAYS, both_ways, convolution, convolve, matrix_state, step_bias, turned
from lra.models.oracles.mamba2 import oracle


@register_attention(
    "mamba2",
    oracle=oracle,
    small={"state": 4},
    # the first two make steps and decays, which add up over the sequence; a norm costs little
    wide=("dt_bias", "log_a", "norm"),
    paper="Dao and Gu 2024, 2405.21060",
    cost="L N d",
    reads_positions=True,
)
class Mamba2(nnx.Module):
    """z, x, B, C, dt = u W_in; x, B, C = silu(conv(x, B, C)); dt = softplus(dt + bias); in each head, with A < 0, S_t =
    exp(dt_t A) S_{t-1} + B_t (dt_t x_t)^T, y_t = S_t^T C_t + D x_t; the output is (RMSNorm(y * silu(z)) * scale) W_out.

    The paper's layer is causal. As in Vim (2401.09417), each direction has its own convolution, dt, A and D. The
    directions share the other projections, and their y are summed before the gate, so that a token counts itself twice.
    The heads are the encoder's, of any width; the authors' are 64 wide.

    Args:
      state: N, the width of B and C, which all heads share. The default is the one in the authors' code.
      expand: the width of x and z is expand qkv_dim. The default is the one in the authors' code.
      conv: tokens that the depthwise convolution reads: a token and those before it, in the order of its direction. The
        default is the one in the authors' code.

    Padding is 0 before the convolution and after it, whose bias would fill it, and has dt = 0: it leaves the state as
    it is. The ranges in which A, dt and the convolution start, the absence of biases in W_in and W_out, and the gate
    before the norm are those of the authors' code.
    """

    def __init__(self, shape: Shape, *, state: int = 128, expand: int = 2, conv: int = 4, rngs: nnx.Rngs):
        for name, value in (("state", state), ("expand", expand), ("conv", conv)):
            if value < 1:
                raise UsageError(f"mamba2.{name} = {value} must be at least 1")
        width, heads = expand * shape.qkv_dim, (WAYS, shape.heads)
        self.heads, self.sizes = shape.heads, (width, width + 2 * state, WAYS * shape.heads)
        self.into = projection(shape.dim, sum(self.sizes), rngs)
        self.conv, self.conv_bias = convolution((conv, WAYS, width + 2 * state), rngs)
        self.dt_bias = step_bias(heads, rngs)
        self.log_a = nnx.Param(jnp.log(jax.random.uniform(rngs.params(), heads, minval=1.0, maxval=16.0)))
        self.skip = nnx.Param(jnp.ones(heads))  # D
        self.norm = nnx.RMSNorm(width, epsilon=1e-5, rngs=rngs)
        self.out = projection(width, shape.dim, rngs)

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        width, convolved, _ = self.sizes
        z, xbc, dt = jnp.split(self.into(x), (width, width + convolved), -1)
        real = both_ways(mask)[..., None]
        xbc = convolve(jnp.where(real, both_ways(xbc), 0), self.conv, self.conv_bias, before=self.conv.shape[0] - 1)
        xbc = jnp.where(real, nnx.silu(xbc), 0)
        value, b, c = jnp.split(xbc, (width, (width + convolved) // 2), -1)
        value = value.reshape(*value.shape[:3], self.heads, -1)
        dt = turned(dt.reshape(*dt.shape[:2], WAYS, -1)).astype(jnp.float32)
        dt = jnp.where(real, nnx.softplus(dt + self.dt_bias.get_value().astype(jnp.float32)), 0)
        log_decay = -dt * jnp.exp(self.log_a.get_value().astype(jnp.float32))

        v = (dt[..., None] * value).astype(x.dtype)
        y = matrix_state(c[..., None, :], b[..., None, :], v, log_decay)
        y = y + self.skip.get_value().astype(jnp.float32)[..., None] * value
        y = merge_heads(turned(y).sum(2))
        return self.out(self.norm(y * nnx.silu(z)).astype(x.dtype)).astype(x.dtype)
