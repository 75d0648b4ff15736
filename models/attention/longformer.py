"""longformer: softmax attention to a sliding window, and global tokens, which see all tokens and are seen by all."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.multihead import AttentionDropout, merge_heads, projection, split_heads
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.softmax import First, Window, attend
from lra.models.oracles.longformer import oracle


@register_attention(
    "longformer",
    oracle=oracle,
    small={"radius": 2, "global_tokens": 2},
    paper="Beltagy et al. 2020, 2004.05150",
    cost="L (w + g) d",
    reads_positions=True,
)
class Longformer(nnx.Module):
    """Local and global attention (section 3.1). Each has its own queries, keys and values.

    The softmax of a token is over the tokens with |i - j| <= radius and the global tokens, each once. The softmax of a
    global token is over all tokens. Windows are not dilated, as in the authors' fine-tuning (section 5).

    Args:
      radius: tokens on each side of the window; w = 2 radius. The authors' `attention_window` is one side too. The
        default makes windows of 512 tokens, which the paper's pre-trained models have.
      global_tokens: g, how many of the first tokens are global. The default, 1, makes [CLS] global, as the paper does
        for classification, or the first token where there is no [CLS].

    LRA's own code has no global token, and a mask of length x length.
    """

    def __init__(self, shape: Shape, *, radius: int = 256, global_tokens: int = 1, rngs: nnx.Rngs):
        for name, value in (("radius", radius), ("global_tokens", global_tokens)):
            if value < 0:
                raise UsageError(f"longformer.{name} = {value} must be at least 0")
        self.radius, self.global_tokens, self.heads = radius, global_tokens, shape.heads
        project = lambda: projection(shape.dim, shape.qkv_dim, rngs)
        self.q, self.k, self.v = project(), project(), project()
        if global_tokens:
            self.q_global, self.k_global, self.v_global = project(), project(), project()
        self.out = projection(shape.qkv_dim, shape.dim, rngs)
        self.dropout = AttentionDropout(shape.dropout, rngs)

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        g, dropout = self.global_tokens, self.dropout()
        q, k, v = (split_heads(project(x), self.heads) for project in (self.q, self.k, self.v))
        seen, real = Window(self.radius, self.radius) | First(g), mask[..., None]
        out = attend(q, k, v, mask=real, pattern=seen, dropout=dropout.fold_in(0), lse=False)[0]
        if not g:
            return self.out(merge_heads(out))
        q, k, v = (
            split_heads(project(tokens), self.heads)
            for project, tokens in ((self.q_global, x[:, :g]), (self.k_global, x), (self.v_global, x))
        )
        of_global = attend(q, k, v, mask=real, dropout=dropout.fold_in(1), lse=False)[0]
        return self.out(merge_heads(jnp.concatenate([of_global, out[:, g:]], 1)))

    def reach(self, length: int) -> Bool[np.ndarray, "length length"]:
        i, j = np.arange(length)[:, None], np.arange(length)
        return (np.abs(i - j) <= self.radius) | (np.minimum(i, j) < self.global_tokens)
