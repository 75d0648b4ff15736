"""gated_deltanet: the delta rule on a state that decays, with a gated output."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from lra.models.attention.delta import Decay, DeltaLayer, Tokens
from lra.models.attention.multihead import projection
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.attention.ways import WAYS
from lra.models.oracles.gated_deltanet import oracle


@register_attention(
    "gated_deltanet",
    oracle=oracle,
    wide=("norm", "dt_bias", "log_a"),  # decays add up over the sequence; a norm costs little
    paper="Yang et al. 2024, 2412.06464",
    cost="L e d",
    reads_positions=True,
)
class GatedDeltaNet(DeltaLayer):
    """S_t = (I - beta_t k_t k_t^T) a_t S_{t-1} + beta_t k_t v_t^T in each head (equation 10), with a_t = exp(-A
    softplus(x_t w + b)); the rest as deltanet, but the output is (RMSNorm(y) * silu(x W_g)) W_o.

    Directions are as in deltanet. Each way has its own a. The authors' heads are 256 wide, and
    their values are twice as wide as their keys; here heads are the encoder's, and both have one width.

    Args:
      conv: tokens that the depthwise convolution reads: a token and those before it, in the order of its way.
      negative: doubles beta, as in deltanet.
    """

    def __init__(self, shape: Shape, *, conv: int = 4, negative: bool = False, rngs: nnx.Rngs):
        super().__init__("gated_deltanet", shape, conv=conv, negative=negative, rngs=rngs)
        self.decay = Decay(shape, 1, projection(shape.dim, WAYS * shape.heads, rngs), rngs)
        self.gate = projection(shape.dim, shape.qkv_dim, rngs)

    def log_decay(self, x: Tokens) -> Float[Array, "batch length ways heads 1"]:
        return self.decay(x)

    def gated(self, x: Tokens, y: Float[Array, "batch length qkv_dim"]) -> Float[Array, "batch length qkv_dim"]:
        return y * nnx.silu(self.gate(x).astype(jnp.float32))
