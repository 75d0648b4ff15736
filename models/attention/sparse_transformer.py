"""sparse_transformer: one softmax over a neighbourhood and over tokens that stand for the rest."""

import math

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.blocks import from_blocks, into_blocks
from lra.models.kernels.softmax import NO_DROPOUT, Dropout, SameBlock, Window, attend, merge
from lra.models.oracles.sparse_transformer import oracle


@register_attention(
    "sparse_transformer",
    oracle=oracle,
    small={"summary": 2},
    paper="Child et al. 2019, 1904.10509",
    cost="L^1.5 d",
    memory="L^1.5",
    reads_positions=True,
)
class SparseTransformer(nnx.Module):
    """One softmax over the union of the two sets of section 4.3 ("merged heads"), without their causality.

    "fixed": a query sees its own block of `stride` tokens, and `summary` columns of every block. The columns of head h
    are group h mod (stride // summary), counted from the end of the block: the paper found that heads with distinct
    groups do better. "strided": a query sees the tokens with |i - j| < stride and the tokens for which i - j is a
    multiple of the stride.

    Args:
      pattern: "fixed", which the paper has for text and which is the default, or "strided", which it has for images.
      stride: l, the number of tokens in a block or between the columns. The default, None, is the square root of the
        longest sequence, rounded up. The paper has a stride near that; the declared cost follows from it.
      summary: c, the number of columns of each block that all queries see; for "fixed" only. The paper has 8, 16 or 32
        columns for strides of 128 and 256; the default is the least of these.

    The paper is causal, since it generates. LRA's own code is causal too, in an encoder. It has the same columns in all
    heads and a mask of length x length.
    """

    def __init__(
        self, shape: Shape, *, pattern: str = "fixed", stride: int | None = None, summary: int = 8, rngs: nnx.Rngs
    ):
        self.stride = math.isqrt(shape.max_length - 1) + 1 if stride is None else stride
        if pattern not in ("fixed", "strided"):
            raise UsageError(f"sparse_transformer.pattern = '{pattern}' is neither 'fixed' nor 'strided'")
        if self.stride < 1:
            raise UsageError(f"sparse_transformer.stride = {stride} must be at least 1")
        if summary < 1:
            raise UsageError(f"sparse_transformer.summary = {summary} must be at least 1")
        self.pattern, self.summary, self.heads = pattern, min(summary, self.stride), shape.heads
        self.groups = self.stride // self.summary

    def __call__(
        self,
        q: Float[Array, "batch length heads head_dim"],
        k: Float[Array, "batch length heads head_dim"],
        v: Float[Array, "batch length heads head_dim"],
        mask: Bool[Array, "batch length"],
        dropout: Dropout = NO_DROPOUT,
    ) -> Float[Array, "batch length heads head_dim"]:
        near, far = (self.block, self.summaries) if self.pattern == "fixed" else (self.window, self.column)
        return merge([near(q, k, v, mask, dropout.fold_in(0)), far(q, k, v, mask, dropout.fold_in(1))])

    def block(self, q: Array, k: Array, v: Array, mask: Array, dropout: Dropout) -> tuple[Array, Array]:
        """Attention to the own block."""
        own = SameBlock(self.stride, self.stride)
        return attend(q, k, v, mask=mask[..., None], pattern=own, dropout=dropout)

    def summaries(self, q: Array, k: Array, v: Array, mask: Array, dropout: Dropout) -> tuple[Array, Array]:
        """Attention to the summaries of the other blocks."""
        real = jnp.broadcast_to(mask[..., None, None], (*k.shape[:3], 1))
        k, v, real = (self.columns(x) for x in (k, v, real))
        own = SameBlock(self.stride, self.summary)
        return attend(q, k, v, mask=real[..., 0], pattern=~own, dropout=dropout)

    def columns(self, x: Float[Array, "batch length heads width"]) -> Float[Array, "batch columns heads width"]:
        x = into_blocks(x, self.stride)[:, :, -self.groups * self.summary :]
        x = x.reshape(*x.shape[:2], self.groups, self.summary, *x.shape[3:])
        # one-hot over the groups: a gather whose transpose is no scatter
        x = jnp.where(self.group_of_heads()[:, None, :, None], x, 0).sum(2, dtype=x.dtype)
        return x.reshape(x.shape[0], -1, *x.shape[3:])

    def group_of_heads(self) -> Bool[np.ndarray, "groups heads"]:
        return np.arange(self.groups)[::-1, None] == np.arange(self.heads) % self.groups

    def window(self, q: Array, k: Array, v: Array, mask: Array, dropout: Dropout) -> tuple[Array, Array]:
        """Attention to the tokens less than a stride away."""
        window = Window(self.stride - 1, self.stride - 1)
        return attend(q, k, v, mask=mask[..., None], pattern=window, dropout=dropout)

    def column(self, q: Array, k: Array, v: Array, mask: Array, dropout: Dropout) -> tuple[Array, Array]:
        """Attention to the tokens one or more whole strides away."""
        turn = lambda x: jnp.swapaxes(into_blocks(x, self.stride), 1, 2)
        out, lse = attend(turn(q), turn(k), turn(v), mask=turn(mask)[..., None], pattern=~Window(0, 0), dropout=dropout)
        back = lambda x: from_blocks(jnp.swapaxes(x, 1, 2), q.shape[1])
        return back(out), back(lse)

    def reach(self, length: int) -> Bool[np.ndarray, "length length"]:
        i, j = np.arange(length)[:, None], np.arange(length)
        if self.pattern == "strided":
            return (np.abs(i - j) < self.stride) | ((i - j) % self.stride == 0)
        from_the_end = (self.stride - 1 - j % self.stride) // self.summary
        return (i // self.stride == j // self.stride) | (from_the_end < min(self.groups, self.heads))
