"""transnormer: softmax attention within blocks in the first half of the layers, linear attention in the second half."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.linear import elu_plus_one
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.blocks import from_blocks, into_blocks
from lra.models.kernels.linear_attention import linear_attention
from lra.models.kernels.pointwise import attend_pointwise
from lra.models.kernels.softmax import NO_DROPOUT, Dropout, SameBlock, attend
from lra.models.oracles.transnormer import oracle


@register_attention(
    "transnormer",
    oracle=oracle,
    small={"block": 5},
    paper="Qin et al. 2022, 2210.10340",
    cost="L (w + e) d",
    reads_positions=True,
    by_layer=True,
)
class Transnormer(nnx.Module):
    """DiagAttention in the first half of the layers, rounded down, NormAttention in the others (section 4).

    DiagAttention is attention within blocks of w tokens that do not overlap. T2 takes the softmax of the logits q_i .
    k_j / sqrt(head_dim). T1 takes their relu and normalises the output. NormAttention is RMSNorm(phi(q_i) sum_j
    phi(k_j)^T v_j), with phi = elu in T1 and 1 + elu in T2. RMSNorm divides by the root mean square over all heads. It
    has no gain, which the output projection would repeat.

    Args:
      block: w, the number of tokens in a block. The default is the paper's.
      kind: "T1" or "T2". The default is the better of the two on LRA in the paper.
      epsilon: added to the mean square in RMSNorm. The paper gives none.

    The authors' LRA code rotates queries and keys by their positions (RoPE), which the paper's formulas do not, and its
    script replaces RMSNorm by batch norm. As in that code, only the weights of DiagAttention are dropped.
    """

    def __init__(self, shape: Shape, *, block: int = 64, kind: str = "T2", epsilon: float = 1e-6, rngs: nnx.Rngs):
        if block < 1:
            raise UsageError(f"transnormer.block = {block} must be at least 1")
        if kind not in ("T1", "T2"):
            raise UsageError(f"transnormer.kind = '{kind}' is neither 'T1' nor 'T2'")
        if epsilon <= 0:
            raise UsageError(f"transnormer.epsilon = {epsilon} must be above 0")
        self.block, self.kind, self.epsilon = block, kind, epsilon
        self.diagonal = shape.layer < shape.layers // 2

    def __call__(
        self,
        q: Float[Array, "batch length heads head_dim"],
        k: Float[Array, "batch length heads head_dim"],
        v: Float[Array, "batch length heads head_dim"],
        mask: Bool[Array, "batch length"],
        dropout: Dropout = NO_DROPOUT,
    ) -> Float[Array, "batch length heads head_dim"]:
        if self.diagonal:
            return self.diag_attention(q, k, v, mask, dropout)
        phi = jax.nn.elu if self.kind == "T1" else elu_plus_one
        y = linear_attention(phi(q), phi(k), v, mask, causal=False)
        return self.rms_norm(y.astype(jnp.float32)).astype(v.dtype)

    def diag_attention(
        self,
        q: Float[Array, "batch length heads head_dim"],
        k: Float[Array, "batch length heads head_dim"],
        v: Float[Array, "batch length heads head_dim"],
        mask: Bool[Array, "batch length"],
        dropout: Dropout,
    ) -> Float[Array, "batch length heads head_dim"]:
        length, block = q.shape[1], min(self.block, q.shape[1])
        if self.kind == "T2":
            own = SameBlock(block, block)
            return attend(q, k, v, mask=mask[..., None], pattern=own, dropout=dropout, lse=False)[0]
        relu = lambda products: jax.nn.relu(products * q.shape[-1] ** -0.5)
        q, k, v, mask = (into_blocks(x, block) for x in (q, k, v, mask))
        out = attend_pointwise(relu, q, k, v, mask, dropout)
        return self.rms_norm(from_blocks(out, length)).astype(v.dtype)

    def rms_norm(self, x: Float[Array, "batch length heads head_dim"]) -> Float[Array, "batch length heads head_dim"]:
        return x * jax.lax.rsqrt(jnp.square(x).mean((2, 3), keepdims=True) + self.epsilon)

    def reach(self, length: int) -> Bool[np.ndarray, "length length"]:
        block = np.arange(length) // self.block
        return block[:, None] == block if self.diagonal else np.ones((length, length), bool)
