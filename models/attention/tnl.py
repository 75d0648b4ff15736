"""tnl: TransNormerLLM's gated linear attention with a fixed decay by distance, both ways."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.models.attention.angles import frequencies, turn
from lra.models.attention.multihead import merge_heads, projection, split_heads
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.linear_attention import linear_attention
from lra.models.oracles.tnl import oracle


def slopes(heads: int) -> Float[np.ndarray, " heads"]:
    """ALiBi's slopes: 2^(-8 h / heads) for h = 1 ... heads. If `heads` is no power of two, they are the slopes of the
    power of two below it, followed by every second one of twice that power.
    """
    power = 1 << (heads.bit_length() - 1)
    between = np.arange(1, 2 * (heads - power), 2) / 2
    return 2.0 ** (-8 / power * np.concatenate([np.arange(1, power + 1), between]))


@register_attention(
    "tnl",
    oracle=oracle,
    paper="Qin et al. 2023, 2307.14995",
    cost="L e d",
    reads_positions=True,
    by_layer=True,
    wide=("theta",),  # the angle of a token: it is multiplied by the position
)
class TransNormerLLM(nnx.Module):
    """(SRMSNorm(sum_s lambda^|t-s| q_t . k_s cos(theta (t-s)) v_s) * x W_u) W_o, swish on queries and keys.

    The paper is causal. Here the decay is mirrored, and a token counts itself once. Distances are those in the
    sequence, padding between two tokens included. It has no options: the paper leaves nothing to choose.

    lambda = exp(-slope (1 - layer / (layers - 1) + 10^-5)), with a fixed slope for each head, as in the authors' code:
    equation 10 of 2405.17381, read literally, decays by e^-1 to e^-8 a token. theta, one for each channel, is learned.
    Only the first layer has it (LRPE-d, 2307.14995). SRMSNorm divides by the root of the mean square of all heads
    together.

    The authors' later module puts swish on v too, and has a LayerNorm and a sigmoid gate of low rank.
    """

    def __init__(self, shape: Shape, *, rngs: nnx.Rngs):
        self.heads = shape.heads
        self.q, self.k, self.v, self.gate = (projection(shape.dim, shape.qkv_dim, rngs) for _ in "qkvu")
        self.out = projection(shape.qkv_dim, shape.dim, rngs)
        self.norm = nnx.RMSNorm(shape.qkv_dim, use_scale=False, epsilon=1e-6, rngs=rngs)
        self.theta = frequencies(shape) if shape.layer == 0 else None
        self.decay = 1 - shape.layer / max(shape.layers - 1, 1) + 1e-5

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        q, k, v = (split_heads(project(x), self.heads) for project in (self.q, self.k, self.v))
        q, k = nnx.silu(q), nnx.silu(k)
        if self.theta is not None:
            q, k = turn(q, self.theta), turn(k, self.theta)
        log_decay = jnp.float32(-slopes(self.heads) * self.decay)[None, None, :, None]
        y = merge_heads(linear_attention(q, k, v, mask, causal=False, log_decay=log_decay))
        return self.out(self.norm(y).astype(x.dtype) * self.gate(x)).astype(x.dtype)
