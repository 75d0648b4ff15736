"""based: linear attention with the Taylor series of exp as its kernel, in turn with softmax attention in windows."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.multihead import AttentionDropout, merge_heads, projection, split_heads
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.linear_attention import linear_attention
from lra.models.kernels.softmax import Window, attend
from lra.models.oracles.based import oracle


@register_attention(
    "based",
    oracle=oracle,
    small={"features": 3, "radius": 2},
    paper="Arora et al. 2024, 2402.18668",
    cost="L f^2 d",
    reads_positions=True,
    by_layer=True,
)
class Based(nnx.Module):
    """In layers 0, 2, ...: linear attention with the weights 1 + u + u^2 / 2, u = q . k / sqrt(f), divided by their
    sum. In layers 1, 3, ...: softmax attention to the tokens within `radius`.

    The features are 1, x, and the products of x with itself, each pair once: 1 + f + f (f + 1) / 2 numbers for queries
    and keys of f numbers a head. No weight is below 1/2, so that no sum is 0. What the state holds does not grow with
    the length, and the windows look at what is near: the authors' mixture of the two. Their models have short
    convolutions too, in layers of their own; these have none. Theirs are causal.

    Args:
      features: f. The default is the authors'.
      radius: tokens on each side of a query that it sees in a layer of windows. The authors' windows have 64 or 128
        tokens before a query; with the default a window has 65.
    """

    def __init__(self, shape: Shape, *, features: int = 16, radius: int = 32, rngs: nnx.Rngs):
        if features < 1:
            raise UsageError(f"based.features = {features} must be at least 1")
        if radius < 0:
            raise UsageError(f"based.radius = {radius} must be at least 0")
        self.heads, self.radius, self.windowed = shape.heads, radius, bool(shape.layer % 2)
        width = shape.qkv_dim if self.windowed else shape.heads * features
        self.q, self.k = (projection(shape.dim, width, rngs) for _ in "qk")
        self.v = projection(shape.dim, shape.qkv_dim, rngs)
        self.out = projection(shape.qkv_dim, shape.dim, rngs)
        self.dropout = AttentionDropout(shape.dropout, rngs)

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        q, k, v = (split_heads(project(x), self.heads) for project in (self.q, self.k, self.v))
        if self.windowed:
            window = Window(self.radius, self.radius)
            y = attend(q, k, v, mask=mask[..., None], pattern=window, dropout=self.dropout(), lse=False)[0]
        else:
            normaliser = lambda sums: jnp.where(sums > 0, sums, 1)
            y = linear_attention(taylor(q), taylor(k), v, mask, causal=False, normaliser=normaliser)
        return self.out(merge_heads(y)).astype(x.dtype)

    def reach(self, length: int) -> Bool[np.ndarray, "length length"]:
        i = np.arange(length)
        return (np.abs(i[:, None] - i) <= self.radius) | (not self.windowed)


def taylor(x: Float[Array, "*batch features"]) -> Float[Array, "*batch expanded"]:
    """Features whose inner products are 1 + u + u^2 / 2, u the inner product of two x over sqrt(features)."""
    size = x.shape[-1]
    i, j = np.triu_indices(size)
    scales = jnp.asarray(np.where(i == j, 2**-0.5, 1.0) / size**0.5, x.dtype)
    return jnp.concatenate([jnp.ones_like(x[..., :1]), x / size**0.25, scales * x[..., i] * x[..., j]], -1)
