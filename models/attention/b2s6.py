"""b2s6: the block-biased selective state space (B2S6), both ways."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.registry import register_attention
from lra.models.attention.selective import MambaBlock, selective_scan
from lra.models.attention.shape import Shape
from lra.models.attention.state_space import complex_of, pair
from lra.models.attention.ways import WAYS, step_bias
from lra.models.oracles.b2s6 import oracle


@register_attention(
    "b2s6",
    oracle=oracle,
    small={"state": 2, "blocks": 2},
    # steps, decays and angles add up over the sequence
    wide=("dt_bias", "log_decay", "frequency"),
    paper="Yu and Erichson 2025, 2505.09022",
    cost="L N d",
    reads_positions=True,
)
class B2S6(MambaBlock):
    """Mamba's block, whose channels fall into blocks with a selection of their own. For channel i of block j, with x_t
    the channels of the block: dt_t = softplus(w_j . x_t + v_i); h_t = exp(dt_t A) h_{t-1} + dt_t (B_j x_t + b_i) x_ti
    with N states, y_ti = Re((C_j x_t) . h_t) + D_i x_ti.

    A, B, C and the bias b are complex, and A is the same for all channels. The paper adds b: what enters a channel's
    states has a part that no token selects.

    What the paper leaves open is here so: the blocks divide the inner width; states do not come in conjugate pairs; A
    starts as that of S4D-Lin, -1/2 + i pi n, and b at 1, S4D's B. The directions are those of `mamba`: each has its own
    convolution, A, B, C, D, b, w and v, and their y are summed before the gate, so that a token counts itself twice.
    The paper has a smaller learning rate for w and v.

    Args:
      state: N, the number of complex states in each channel. The default is Mamba's.
      blocks: the number of blocks of equal width. The default is the paper's.
      expand: the width of x and z is expand qkv_dim. The default is Mamba's.
      conv: tokens that the depthwise convolution reads, as in `mamba`. The default is Mamba's.

    Padding is 0 before the convolution and after it, and has dt = 0: it leaves the states as they are.
    """

    def __init__(
        self, shape: Shape, *, state: int = 16, blocks: int = 8, expand: int = 2, conv: int = 4, rngs: nnx.Rngs
    ):
        for name, value in (("state", state), ("blocks", blocks), ("expand", expand), ("conv", conv)):
            if value < 1:
                raise UsageError(f"b2s6.{name} = {value} must be at least 1")
        width = expand * shape.qkv_dim
        if width % blocks:
            raise UsageError(f"b2s6.blocks = {blocks} does not divide the inner width of {width}")
        super().__init__(shape, width, conv, rngs)
        size = width // blocks
        uniform = lambda *sizes: jax.random.uniform(rngs.params(), sizes, minval=-1) * size**-0.5
        self.b, self.c = (pair(jax.lax.complex(*uniform(2, WAYS, blocks, size, state))) for _ in "bc")
        self.bias = pair(jnp.ones((WAYS, blocks, state, size), complex))
        self.dt = nnx.Param(uniform(WAYS, blocks, size))
        self.dt_bias = step_bias((WAYS, blocks, size), rngs)
        self.log_decay = nnx.Param(jnp.full((WAYS, state), jnp.log(0.5)))
        self.frequency = nnx.Param(jnp.broadcast_to(np.pi * jnp.arange(state), (WAYS, state)))

    def state_spaces(
        self, x: Float[Array, "batch length ways width"], real: Bool[Array, "batch length ways 1"]
    ) -> Float[Array, "batch length ways width"]:
        bias = complex_of(self.bias)
        dt_bias, log_decay, frequency = (
            y.get_value().astype(jnp.float32) for y in (self.dt_bias, self.log_decay, self.frequency)
        )
        blocks = x.reshape(*x.shape[:3], *dt_bias.shape[1:])  # [batch, length, ways, blocks, size]
        dt = jnp.einsum("blwjs,wjs->jblw", blocks, self.dt.get_value()).astype(jnp.float32)[..., None]
        dt = jnp.where(real, nnx.softplus(dt + jnp.moveaxis(dt_bias, 1, 0)[:, None, None]), 0)
        select = lambda kernel: jax.lax.complex(
            *jnp.einsum("blwjs,rwjsn->rjblwn", blocks, kernel.get_value()).astype(jnp.float32)
        )
        a = jax.lax.complex(-jnp.exp(log_decay), frequency)[..., None]
        a = jnp.broadcast_to(a, bias[:, 0].shape)
        of_block = lambda part: selective_scan(part[0], part[1], a, *part[2:])
        parts = (jnp.moveaxis(blocks, 3, 0), dt, select(self.b), select(self.c), jnp.moveaxis(bias, 1, 0))
        return jnp.moveaxis(jax.lax.map(of_block, parts), 0, 3).reshape(x.shape)
