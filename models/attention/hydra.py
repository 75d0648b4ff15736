"""hydra: a quasiseparable mixer, two state spaces that leave out the token itself, and a diagonal of its own."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.multihead import merge_heads, projection
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.attention.ways import WAYS, both_ways, convolution, convolve, matrix_state, step_bias, turned
from lra.models.kernels.recurrence import close_gaps, open_gaps
from lra.models.oracles.hydra import oracle


@register_attention(
    "hydra",
    oracle=oracle,
    small={"state": 4},
    # the first two make steps and decays, which add up over the sequence; a norm costs little
    wide=("dt_bias", "log_a", "norm"),
    paper="Hwang et al. 2024, 2407.09941",
    cost="L N d",
    reads_positions=True,
)
class Hydra(nnx.Module):
    """y = shift(SS(x)) + flip(shift(SS(flip(x)))) + (D + x W_D) x (section 3), with mamba2's state space SS in each
    head; the output is (RMSNorm(y) * scale * silu(z)) W_out.

    z, x, B, C, dt = u W_in; x, B, C = silu(conv(x, B, C)); dt = softplus(dt + bias); with A < 0, S_t = exp(dt_t A)
    S_{t-1} + B_t (dt_t x_t)^T and SS(x)_t = S_t^T C_t. The shift moves outputs by one token: token t reads what C_{t-1}
    makes of the tokens before it, and what C_{t+1} of the other direction makes of those behind it. So the matrix that
    mixes the tokens is quasiseparable, and a token reaches itself by the diagonal alone.

    Each direction has its own B, C and dt; both share x, A and the bias of dt. The convolution is centred. The heads
    are the encoder's, of any width; the authors' are 64 wide.

    Args:
      state: N, the width of B and C, which all heads share. The default is the one in the authors' code.
      expand: the width of x and z is expand qkv_dim. The default is the one in the authors' code.
      conv: tokens that the depthwise convolution reads, an odd number. The default is the one in the authors' code.

    Gaps in the mask are closed first, so that the shift goes from one real token to the next. Padding is 0 after the
    convolution, whose bias would fill it, and enters no state. The ranges in which A, dt and the convolution start, the
    absence of biases in W_in and W_out, and the gate after the norm are those of the authors' code.
    """

    def __init__(self, shape: Shape, *, state: int = 64, expand: int = 2, conv: int = 7, rngs: nnx.Rngs):
        for name, value in (("state", state), ("expand", expand), ("conv", conv)):
            if value < 1:
                raise UsageError(f"hydra.{name} = {value} must be at least 1")
        if conv % 2 == 0:
            raise UsageError(f"hydra.conv = {conv} must be odd")
        width, heads = expand * shape.qkv_dim, shape.heads
        self.heads, self.sizes = heads, (width, width + WAYS * 2 * state, WAYS * heads)
        self.into = projection(shape.dim, sum(self.sizes), rngs)
        self.conv, self.conv_bias = convolution((conv, self.sizes[1]), rngs)
        self.dt_bias = step_bias((heads,), rngs)
        self.log_a = nnx.Param(jnp.zeros(heads))
        self.skip = nnx.Param(jnp.ones(heads))  # D
        self.diagonal = projection(width, heads, rngs)  # W_D
        self.norm = nnx.RMSNorm(width, epsilon=1e-5, rngs=rngs)
        self.out = projection(width, shape.dim, rngs)

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        (batch, length, _), (width, convolved, _) = x.shape, self.sizes
        real = (jnp.arange(length) < mask.sum(1, keepdims=True))[..., None]
        z, xbc, dt = jnp.split(self.into(close_gaps(x, mask)), (width, width + convolved), -1)
        xbc = convolve(xbc, self.conv, self.conv_bias, before=self.conv.shape[0] // 2)
        value, bc = jnp.split(jnp.where(real, nnx.silu(xbc), 0), (width,), -1)
        b, c = jnp.unstack(turned(bc.reshape(batch, length, WAYS, 2, -1)), axis=3)
        dt = turned(dt.reshape(batch, length, WAYS, -1)).astype(jnp.float32)
        dt = nnx.softplus(dt + self.dt_bias.get_value().astype(jnp.float32))
        log_decay = -dt * jnp.exp(self.log_a.get_value().astype(jnp.float32))

        heads = value.reshape(batch, length, self.heads, -1)
        v = (dt[..., None] * both_ways(heads)).astype(x.dtype)
        y = matrix_state(c[..., None, :], b[..., None, :], v, log_decay)
        shifted = jnp.pad(y[:, :-1], ((0, 0), (1, 0), (0, 0), (0, 0), (0, 0)))
        diagonal = self.skip.get_value().astype(jnp.float32) + self.diagonal(value)
        y = merge_heads(turned(shifted).sum(2) + diagonal[..., None] * heads)
        return open_gaps(self.out((self.norm(y) * nnx.silu(z)).astype(x.dtype)), mask).astype(x.dtype)
