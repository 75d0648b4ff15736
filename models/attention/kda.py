"""kda: Kimi delta attention, the delta rule on a state each of whose channels decays on its own."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from lra.models.attention.delta import Decay, DeltaLayer, Tokens
from lra.models.attention.multihead import projection
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.attention.ways import WAYS
from lra.models.oracles.kda import oracle


@register_attention(
    "kda",
    oracle=oracle,
    wide=("norm", "dt_bias", "log_a"),  # decays add up over the sequence; a norm costs little
    paper="Kimi Team 2025, 2510.26692",
    cost="L e d",
    reads_positions=True,
)
class KDA(DeltaLayer):
    """S_t = (I - beta_t k_t k_t^T) diag(a_t) S_{t-1} + beta_t k_t v_t^T in each head (equation 1), with a_t = exp(-A
    softplus(x_t W_1 W_2 + b)), one number a channel; the rest as deltanet, but the output is (RMSNorm(y) *
    sigmoid(x W_3 W_4)) W_o. W_1 and W_3 lead to the width of a head.

    Directions are as in deltanet. The ways share W_1 and have their own W_2, A and b.

    Args:
      conv: tokens that the depthwise convolution reads: a token and those before it, in the order of its way.
      negative: doubles beta, as in deltanet.
    """

    def __init__(self, shape: Shape, *, conv: int = 4, negative: bool = False, rngs: nnx.Rngs):
        super().__init__("kda", shape, conv=conv, negative=negative, rngs=rngs)
        rank = shape.qkv_dim // shape.heads
        low_rank = lambda width: nnx.Sequential(projection(shape.dim, rank, rngs), projection(rank, width, rngs))
        self.decay = Decay(shape, rank, low_rank(WAYS * shape.qkv_dim), rngs)
        self.gate = low_rank(shape.qkv_dim)

    def log_decay(self, x: Tokens) -> Float[Array, "batch length ways heads head_dim"]:
        return self.decay(x)

    def gated(self, x: Tokens, y: Float[Array, "batch length qkv_dim"]) -> Float[Array, "batch length qkv_dim"]:
        return y * nnx.sigmoid(self.gate(x).astype(jnp.float32))
