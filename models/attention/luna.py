"""luna: attention packs the sequence into a short one, and a second attention unpacks it."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.multihead import AttentionDropout, merge_heads, projection, split_heads
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.softmax import attend
from lra.models.oracles.luna import oracle

Packed = Float[Array, "batch packed qkv_dim"]


@register_attention(
    "luna",
    oracle=oracle,
    small={"packed": 4},
    paper="Ma et al. 2021, 2106.01540",
    cost="L p d",
    by_layer=True,
    wide=("norm",),  # a norm costs little
)
class Luna(nnx.Module):
    """Y_P = Attn(P, X, X), then Y_X = Attn(X, Y_P, Y_P) (section 3); LN(Y_P + P) is the next layer's P.

    P is a sequence of p vectors, as wide as the queries. The first layer learns it, and each layer hands it to the
    next. In both attentions keys and values are one projection, as in the paper, and Y_P gets no output projection. No
    layer reads the P of the last one, so that the last layer has no norm.

    Args:
      packed: p, the length of P. The default is the largest, and the best, of the paper's three on LRA: 16, 128 and
        256.

    The authors' LRA code does not share the projection, and cuts P to the longest sequence of the batch.
    """

    def __init__(self, shape: Shape, *, packed: int = 256, rngs: nnx.Rngs):
        if packed < 1:
            raise UsageError(f"luna.packed = {packed} must be at least 1")
        width = shape.qkv_dim
        self.heads = shape.heads
        # P starts at the scale that the norm gives to it in all later layers
        self.p = nnx.Param(jax.random.normal(rngs.params(), (packed, width))) if shape.layer == 0 else None
        self.pack_query, self.pack_context = projection(width, width, rngs), projection(shape.dim, width, rngs)
        self.query, self.context = projection(shape.dim, width, rngs), projection(width, width, rngs)
        self.out = projection(width, shape.dim, rngs)
        self.norm = nnx.LayerNorm(width, rngs=rngs) if shape.layer < shape.layers - 1 else None
        self.dropout = AttentionDropout(shape.dropout, rngs)

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"], carry: Packed | None
    ) -> tuple[Float[Array, "batch length dim"], Packed | None]:
        dropout = self.dropout()
        if self.p is not None:
            p = self.p.get_value().astype(jnp.float32)
            carry = jnp.broadcast_to(p, (len(x), *p.shape)).astype(x.dtype)
        assert carry is not None  # the layer below hands it on
        q, kv = split_heads(self.pack_query(carry), self.heads), split_heads(self.pack_context(x), self.heads)
        packed = merge_heads(attend(q, kv, kv, mask=mask[..., None], dropout=dropout.fold_in(0), lse=False)[0])
        q, kv = split_heads(self.query(x), self.heads), split_heads(self.context(packed), self.heads)
        y = attend(q, kv, kv, dropout=dropout.fold_in(1), lse=False)[0]
        return self.out(merge_heads(y)), None if self.norm is None else self.norm(packed + carry).astype(x.dtype)
