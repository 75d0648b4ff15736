"""cosformer2: linear attention without decay, with a learned cosine of the distance, a norm and a gate."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.models.attention.angles import frequencies, turn
from lra.models.attention.multihead import merge_heads, projection, split_heads
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.linear_attention import linear_attention
from lra.models.kernels.recurrence import constant_convolution
from lra.models.oracles.cosformer2 import oracle


@register_attention(
    "cosformer2",
    oracle=oracle,
    paper="Shen et al. 2024, 2406.16690",
    cost="L d^2/h",
    reads_positions=True,
    by_layer=True,
    wide=("theta", "decays"),  # they are multiplied by positions and distances
)
class Cosformer2(nnx.Module):
    """(SRMSNorm(sum_s q_t . k_s cos(theta (t-s)) v_s) * sigmoid(x W_1 W_2)) W_o, swish on queries and keys.

    These are the four changes that the paper makes to cosformer. Each channel has its own angle theta, which is
    learned (LRPE); cosformer has one for all, and fixed. A norm takes the place of the sum that cosformer divides by.
    An output gate has the rank of a head's width. And the layers' input has a Toeplitz positional encoding (TPE).

    The first layer has the TPE. It adds p to x before its projections, and to its output, so that the later layers have
    p too. In channel c, p_t = sum_s sum_n a_cn lambda_n^|t-s| x_s, with as many decays lambda_n as a head has channels.
    Distances are those in the sequence, padding between two tokens included. It has no options: the paper leaves
    nothing to choose.

    The paper is causal; here a token sees both sides and counts itself once. It gives no equation, but names the parts
    and counts parameters: 2 d^2/h a layer for the gate and d^2/h once for the TPE. The form of the TPE is ours, by this
    count and by the exponential decays of LightNet (2405.21022), where the TPE is from. swish and the sigmoid are those
    of the authors' later code, SRMSNorm is that of their TransNormerLLM: it divides by the root of the mean square of
    all heads together.
    """

    def __init__(self, shape: Shape, *, rngs: nnx.Rngs):
        self.heads = shape.heads
        self.q, self.k, self.v = (projection(shape.dim, shape.qkv_dim, rngs) for _ in "qkv")
        self.gate = projection(shape.dim, shape.head_dim, rngs)
        self.gate2 = projection(shape.head_dim, shape.qkv_dim, rngs)
        self.out = projection(shape.qkv_dim, shape.dim, rngs)
        self.norm = nnx.RMSNorm(shape.qkv_dim, use_scale=False, epsilon=1e-6, rngs=rngs)
        self.theta = frequencies(shape)
        self.encodes = shape.layer == 0
        if self.encodes:
            normal = lambda *sizes: jax.random.normal(rngs.params(), sizes)
            self.decays = nnx.Param(normal(shape.head_dim))  # lambda = sigmoid(decays)
            self.weights = nnx.Param(normal(shape.dim, shape.head_dim) / shape.head_dim)  # a

    def encoding(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        """p."""
        x = jnp.where(mask[..., None], x, 0).astype(jnp.float32)
        weights = self.weights.get_value().astype(jnp.float32)
        log_decay = jax.nn.log_sigmoid(self.decays.get_value().astype(jnp.float32))
        one_way = lambda x: constant_convolution(jnp.broadcast_to(log_decay, weights.shape), weights, x)
        return one_way(x) + jnp.flip(one_way(jnp.flip(x, 1)), 1) - weights.sum(-1) * x

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        p = self.encoding(x, mask).astype(x.dtype) if self.encodes else 0
        x = x + p
        q, k, v = (split_heads(project(x), self.heads) for project in (self.q, self.k, self.v))
        q, k = turn(nnx.silu(q), self.theta), turn(nnx.silu(k), self.theta)
        y = self.norm(merge_heads(linear_attention(q, k, v, mask, causal=False))).astype(x.dtype)
        return (self.out(y * nnx.sigmoid(self.gate2(self.gate(x)))) + p).astype(x.dtype)
