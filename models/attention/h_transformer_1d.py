"""h_transformer_1d: softmax attention to single tokens nearby, and to means over ever larger groups farther away."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.blocks import from_blocks, into_blocks, pad_to_multiple, with_neighbours
from lra.models.kernels.softmax import NO_DROPOUT, Dropout, attend, merge
from lra.models.oracles.h_transformer_1d import oracle


@register_attention(
    "h_transformer_1d",
    oracle=oracle,
    small={"block": 4},
    paper="Zhu and Soricut 2021, 2107.11906",
    cost="L b d",
    reads_positions=True,
)
class HTransformer1D(nnx.Module):
    """Hierarchical attention: the logit of two tokens is that of their groups, which are larger the farther they are
    apart (section 6).

    At level l, a group has 2^l tokens, and a block has `block` groups. Two tokens meet at the first level at which
    their blocks are the same or neighbours. There, their logit is the product of the means of their groups' queries and
    keys, over sqrt(head_dim). The softmax is over all real tokens. So each pair counts once, and no pair is left out.

    Args:
      block: the groups in a block, an even number: the paper's N_r, the rank of the blocks far from the diagonal. A
        token sees at least as many tokens on each side one by one. The default is the paper's on LRA.

    Groups and blocks are cut from the start of the sequence. The mean of a group is over its real tokens; the authors'
    code takes the mean of the means of its halves, and lets padding into the sums of values. That code subtracts one
    maximum from all logits of a head; this one subtracts each query's own. It also has a learned bias for each
    distance between groups, which the paper does not have.
    """

    def __init__(self, shape: Shape, *, block: int = 16, rngs: nnx.Rngs):
        if block < 2 or block % 2:
            raise UsageError(f"h_transformer_1d.block = {block} must be even and at least 2")
        self.block = block

    def __call__(
        self,
        q: Float[Array, "batch length heads head_dim"],
        k: Float[Array, "batch length heads head_dim"],
        v: Float[Array, "batch length heads head_dim"],
        mask: Bool[Array, "batch length"],
        dropout: Dropout = NO_DROPOUT,
    ) -> Float[Array, "batch length heads head_dim"]:
        length, dtype = mask.shape[1], v.dtype
        levels = max(-(-length // self.block) - 1, 1).bit_length()  # the last has two blocks
        real = mask[..., None, None]
        whole = lambda x: pad_to_multiple(jnp.where(real, x, 0).astype(jnp.float32), self.block << levels)
        count, *sums = (whole(x) for x in (real, q, k, v))
        blocks = []
        for _ in range(levels):
            means = ((x / jnp.maximum(count, 1)).astype(dtype) for x in sums)
            query, *keys = (into_blocks(x, self.block) for x in (*means, count))
            blocks.append((query, *map(with_neighbours, keys)))
            count, *sums = (into_blocks(x, 2).sum(2) for x in (count, *sums))

        # tokens in halves of blocks that touch have met one level below
        half = np.arange(-self.block, 2 * self.block) // (self.block // 2)
        far = jnp.asarray(abs(half[self.block : -self.block, None] - half) > 1)
        q, k, v, count = blocks[0]
        parts = [attend_blocks(q, k, v, count, None, dropout.fold_in(0))]
        if levels > 1:  # all of them at once
            q, k, v, count = (jnp.concatenate(x, 1) for x in zip(*blocks[1:]))
            ends = self.block * np.cumsum([query.shape[1] for query, *_ in blocks[1:-1]])
            y, total = attend_blocks(q, k, v, count, far, dropout.fold_in(1))
            parts += zip(jnp.split(y, ends, 1), jnp.split(total, ends, 1))

        y, total = parts.pop()
        while parts:  # what a group has seen, its halves have too
            y, total = jnp.repeat(y, 2, 1), jnp.repeat(total, 2, 1)
            out, lse = parts.pop()
            y, total = merge([(out, lse), (y, total)]), jnp.logaddexp(lse, total)
        return y[:, :length]


def attend_blocks(
    q: Float[Array, "batch blocks block heads head_dim"],
    k: Float[Array, "batch blocks keys heads head_dim"],
    v: Float[Array, "batch blocks keys heads head_dim"],
    count: Float[Array, "batch blocks keys 1 1"],
    allowed: Bool[Array, "block keys"] | None,
    dropout: Dropout,
) -> tuple[Float[Array, "batch groups heads head_dim"], Float[Array, "batch groups heads"]]:
    """Outputs and logarithms of denominators. A group counts for as many keys as it has tokens."""
    bias = jnp.log(jnp.maximum(count, 1))[..., 0].swapaxes(-1, -2)[..., None, :]
    out, lse = attend(q, k, v, mask=count[..., 0] > 0, allowed=allowed, bias=bias, dropout=dropout)
    groups = q.shape[1] * q.shape[2]
    return from_blocks(out, groups), from_blocks(lse, groups)
