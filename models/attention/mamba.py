"""mamba: a selective state space model (S6), whose steps, inputs and outputs depend on the token, both ways."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.registry import register_attention
from lra.models.attention.selective import MambaBlock, selective_scan
from lra.models.attention.shape import Shape
from lra.models.attention.ways import WAYS, step_bias
from lra.models.oracles.mamba import oracle


@register_attention(
    "mamba",
    oracle=oracle,
    small={"state": 3},
    wide=("dt_bias", "log_a"),  # they make steps and decays, which add up over the sequence
    paper="Gu and Dao 2023, 2312.00752",
    cost="L N d",
    reads_positions=True,
)
class Mamba(MambaBlock):
    """x, z = u W_in; x = silu(conv(x)); dt, B, C = x W_x; dt = softplus(dt W_dt + bias); in each channel, with N states
    and A < 0, h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t, y_t = C_t . h_t + D x_t; the output is (y * silu(z)) W_out.

    The paper's layer is causal. As in Vim (2401.09417), each direction has its own convolution, W_x, W_dt, A and D. The
    directions share W_in and W_out, and their y are summed before the gate, so that a token counts itself twice. W_x
    makes dt over qkv_dim / 16 numbers, rounded up.

    Args:
      state: N, the number of states in each channel and the width of B and C, which all channels share. The default is
        the paper's.
      expand: the width of x and z is expand qkv_dim. The default is the paper's.
      conv: tokens that the depthwise convolution reads: a token and those before it, in the order of its direction. The
        default is the one in the authors' code.

    Padding is 0 before the convolution and after it, and has dt = 0: it leaves the states as they are. The ranges in
    which A, dt, W_x, W_dt and the convolution start, and the absence of other biases, are those of the authors' code.
    """

    def __init__(self, shape: Shape, *, state: int = 16, expand: int = 2, conv: int = 4, rngs: nnx.Rngs):
        for name, value in (("state", state), ("expand", expand), ("conv", conv)):
            if value < 1:
                raise UsageError(f"mamba.{name} = {value} must be at least 1")
        width, rank = expand * shape.qkv_dim, -(-shape.qkv_dim // 16)
        super().__init__(shape, width, conv, rngs)
        self.splits = (rank, rank + state)
        uniform = lambda *sizes: nnx.Param(jax.random.uniform(rngs.params(), sizes, minval=-1) * sizes[1] ** -0.5)
        self.select = uniform(WAYS, width, rank + 2 * state)
        self.dt = uniform(WAYS, rank, width)
        self.dt_bias = step_bias((WAYS, width), rngs)
        self.log_a = nnx.Param(jnp.broadcast_to(jnp.log(jnp.arange(1.0, state + 1))[:, None], (WAYS, state, width)))

    def state_spaces(
        self, x: Float[Array, "batch length ways width"], real: Bool[Array, "batch length ways 1"]
    ) -> Float[Array, "batch length ways width"]:
        each_way = lambda x, kernel: jnp.einsum("blwi,wio->blwo", x, kernel.get_value())
        dt, b, c = jnp.split(each_way(x, self.select), self.splits, -1)
        dt_bias, log_a = (y.get_value().astype(jnp.float32) for y in (self.dt_bias, self.log_a))
        dt = jnp.where(real, nnx.softplus(each_way(dt, self.dt).astype(jnp.float32) + dt_bias), 0)
        return selective_scan(x, dt, -jnp.exp(log_a), b, c)
