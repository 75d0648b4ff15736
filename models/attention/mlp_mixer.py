"""mlp_mixer: an MLP over the positions, the same for all channels, instead of attention."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.oracles.mlp_mixer import oracle


@register_attention(
    "mlp_mixer",
    oracle=oracle,
    paper="Tolstikhin et al. 2021, 2105.01601",
    cost="L s d",
    reads_positions=True,
    wide=("b1", "b2"),  # their gradients are sums over all channels and sequences
    exceptions={"parameters": "a matrix with a row for each position, up to max_length, is what mixes the tokens"},
)
class MLPMixer(nnx.Module):
    """W_2 gelu(W_1 x + b_1) + b_2 in each channel of x, with a column of W_1 and a row of W_2 for each position
    (equation 1, the token mixing).

    The paper's channel mixing is the MLP of the encoder's block. The authors' images all have the same size. Here,
    padding enters as 0, and a shorter sequence uses the first columns and rows. The paper's gelu is exact; the authors'
    code has its approximation with tanh.

    Args:
      tokens_mlp_dim: s, the number of hidden units. The default, None, is half of the tokens' width, as in all models
        of the paper's table 1.
    """

    def __init__(self, shape: Shape, *, tokens_mlp_dim: int | None = None, rngs: nnx.Rngs):
        hidden = max(shape.dim // 2, 1) if tokens_mlp_dim is None else tokens_mlp_dim
        if hidden < 1:
            raise UsageError(f"mlp_mixer.tokens_mlp_dim = {hidden} must be at least 1")
        self.shape, init = shape, nnx.initializers.xavier_uniform()
        self.w1 = nnx.Param(init(rngs.params(), (shape.max_length, hidden)))
        self.w2 = nnx.Param(init(rngs.params(), (hidden, shape.max_length)))
        self.b1, self.b2 = nnx.Param(jnp.zeros(hidden)), nnx.Param(jnp.zeros(shape.max_length))

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        length, dtype = x.shape[1], x.dtype
        self.shape.admit(length, "mlp_mixer")
        w1, b1, w2, b2 = (y.get_value() for y in (self.w1, self.b1, self.w2, self.b2))
        x = jnp.where(mask[..., None], x, 0)
        hidden = jnp.einsum("bld,ls->bsd", x, w1[:length]) + b1[:, None]
        hidden = jax.nn.gelu(hidden, approximate=False).astype(dtype)
        return (jnp.einsum("bsd,sl->bld", hidden, w2[:, :length]) + b2[:length, None]).astype(dtype)
