"""nalaformer: linear attention whose features are powers, the queries' with an exponent that their norm sets."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.angles import rotate
from lra.models.attention.multihead import merge_heads, projection, split_heads
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.attention.ways import convolve
from lra.models.kernels.linear_attention import linear_attention
from lra.models.oracles.nalaformer import oracle

TAPS = 5  # tokens that the convolution reads


@register_attention(
    "nalaformer",
    oracle=oracle,
    paper="Meng et al. 2026, 2506.21137",
    cost="L d^2/h",
    reads_positions=True,
    wide=("norm",),  # it costs little
)
class NaLaFormer(nnx.Module):
    """(LayerNorm(attention + conv(v)) * swish(x W_g)) W_o, all in the form of the authors' code.

    A query is split into its norm and its direction u = q / |q|. Its features are [relu(u)^p, relu(-u)^p] with p = 3
    (1/2 + tanh |q|): the larger its norm, the sharper its weights, which a sum of weights would else cancel. A key has
    [relu(k)^3, relu(-k)^3]. No weight is negative, and no sign of a channel is lost. The weights are divided by their
    sum plus 10^-6 for each key. In what is divided, both halves of the features are rotated by the position; in the sum
    they are not. conv is depthwise and reads two tokens on each side. It has no options: the authors leave nothing to
    choose.

    The authors' module is for images. There, half of the channels are rotated by the row and half by the column, and
    the convolution is 5 x 5; here there is one position. Padding is no key, and 0 to the convolution. The authors'
    matrices and convolution have biases; these have none. The authors' q / |q| is NaN for a query of 0; here its
    features are 0.
    """

    def __init__(self, shape: Shape, *, rngs: nnx.Rngs):
        if shape.head_dim % 2:
            raise UsageError(f"nalaformer rotates pairs of channels: qkv_dim / heads = {shape.head_dim} must be even")
        self.heads = shape.heads
        self.q, self.k, self.v, self.gate = (projection(shape.dim, shape.qkv_dim, rngs) for _ in "qkvg")
        self.conv = nnx.Param(0.02 * jax.random.truncated_normal(rngs.params(), -2, 2, (TAPS, shape.qkv_dim)))
        self.norm = nnx.LayerNorm(shape.qkv_dim, epsilon=1e-5, rngs=rngs)
        self.out = projection(shape.qkv_dim, shape.dim, rngs)

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        q, k, v = (split_heads(project(x), self.heads).astype(jnp.float32) for project in (self.q, self.k, self.v))
        norm = jnp.sqrt((q**2).sum(-1, keepdims=True) + 1e-12)
        of_queries, of_keys = halves(q / norm, 3 * (0.5 + jnp.tanh(norm))), halves(k, 3.0)
        join = lambda features: jnp.concatenate(features, -1)
        turned = lambda features: join([rotate(half) for half in features])
        above = linear_attention(turned(of_queries), turned(of_keys), v, mask, causal=False)
        ones = jnp.ones_like(v[..., :1])
        below = linear_attention(join(of_queries), join(of_keys), ones, mask, causal=False)
        keys = jnp.maximum(mask.sum(1), 1)[:, None, None, None]
        v = jnp.where(mask[..., None], merge_heads(v), 0)
        near = convolve(v, self.conv, None, before=TAPS // 2)
        y = self.norm(merge_heads(above / (below + 1e-6 * keys)) + near)
        return self.out(y.astype(x.dtype) * nnx.silu(self.gate(x))).astype(x.dtype)


def halves(x: Float[Array, "*batch width"], power: Float[Array, "*batch 1"] | float) -> tuple[Array, Array]:
    """The positive part of x to a power, and the negative one."""
    return nnx.relu(x) ** power, nnx.relu(-x) ** power
