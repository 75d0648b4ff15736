"""transformer: softmax attention of every token to every token."""

from jaxtyping import Array, Bool, Float

from lra.models.attention.registry import register_attention
from lra.models.kernels.softmax import NO_DROPOUT, Dropout, attend
from lra.models.oracles.transformer import oracle


@register_attention("transformer", oracle=oracle, paper="Vaswani et al. 2017, 1706.03762", cost="L^2 d")
def transformer(
    q: Float[Array, "batch length heads head_dim"],
    k: Float[Array, "batch length heads head_dim"],
    v: Float[Array, "batch length heads head_dim"],
    mask: Bool[Array, "batch length"],
    dropout: Dropout = NO_DROPOUT,
) -> Float[Array, "batch length heads head_dim"]:
    """softmax(q k^T / sqrt(head_dim)) v over the real tokens (equation 1)."""
    return attend(q, k, v, mask=mask[..., None], dropout=dropout, lse=False)[0]
