"""differential: the difference of two softmax attentions, which share their values."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.softmax import NO_DROPOUT, Dropout, attend
from lra.models.oracles.differential import oracle


@register_attention(
    "differential",
    oracle=oracle,
    wide=("query_weights", "key_weights", "norm"),  # two numbers a layer come from the first two; a norm costs little
    paper="Ye et al. 2025, 2410.05258",
    cost="L^2 d",
    by_layer=True,
)
class Differential(nnx.Module):
    """(softmax(q_1 k_1^T / sqrt(e)) - lambda softmax(q_2 k_2^T / sqrt(e))) v in each head, then (1 - lambda_0) RMSNorm.

    The encoder's heads of width e are taken in pairs, which makes half as many heads, as the authors have: the queries
    and keys of a pair are the two groups of a head, and its values together are the head's, 2 e wide. lambda = exp(a_1
    . b_1) - exp(a_2 . b_2) + lambda_0, with a and b learned for all heads of the layer, and lambda_0 = 0.8 - 0.6
    exp(-0.3 l) in layer l, counted from 0 (equations 1 to 3). The norm is over the width of a head and has a gain.

    The authors' layer is causal and rotates queries and keys by position; this one sees both ways and has the encoder's
    positions.
    """

    def __init__(self, shape: Shape, *, rngs: nnx.Rngs):
        if shape.heads % 2:
            raise UsageError(f"differential takes heads in pairs; encoder.heads = {shape.heads} is odd")
        self.start = 0.8 - 0.6 * math.exp(-0.3 * shape.layer)
        draw = lambda: nnx.Param(0.1 * jax.random.normal(rngs.params(), (2, shape.head_dim)))
        self.query_weights, self.key_weights = draw(), draw()
        self.norm = nnx.RMSNorm(2 * shape.head_dim, epsilon=1e-5, rngs=rngs)

    def __call__(
        self,
        q: Float[Array, "batch length heads head_dim"],
        k: Float[Array, "batch length heads head_dim"],
        v: Float[Array, "batch length heads head_dim"],
        mask: Bool[Array, "batch length"],
        dropout: Dropout = NO_DROPOUT,
    ) -> Float[Array, "batch length heads head_dim"]:
        batch, length, heads, width = v.shape
        values = jnp.repeat(v.reshape(batch, length, heads // 2, 2 * width), 2, axis=2)
        maps = attend(q, k, values, mask=mask[..., None], dropout=dropout, lse=False)[0]
        of_first, of_second = jnp.unstack(maps.reshape(batch, length, heads // 2, 2, 2 * width), axis=3)
        products = self.query_weights.get_value() * self.key_weights.get_value()
        one, other = jnp.exp(products.astype(jnp.float32).sum(-1))
        y = self.norm(of_first.astype(jnp.float32) - (one - other + self.start) * of_second)
        return ((1 - self.start) * y).reshape(v.shape).astype(v.dtype)
