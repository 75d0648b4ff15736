"""local: softmax attention to the tokens within a fixed distance, both ways."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lra.models.attention.registry import register_attention
from lra.models.kernels.softmax import NO_DROPOUT, Dropout, attend, pad_to_multiple
from lra.models.oracles.local import oracle


@register_attention(
    "local",
    oracle=oracle,
    small={"radius": 2},
    paper="sliding window of Beltagy et al. 2020, 2004.05150, section 3.1",
    cost="L w d",
)
def local(
    q: Float[Array, "batch length heads head_dim"],
    k: Float[Array, "batch length heads head_dim"],
    v: Float[Array, "batch length heads head_dim"],
    mask: Bool[Array, "batch length"],
    radius: int = 25,
    dropout: Dropout = NO_DROPOUT,
) -> Float[Array, "batch length heads head_dim"]:
    """softmax over the real tokens j with |i - j| <= radius, a window of w = 2 radius + 1.

    Windows slide, so the reach grows by the radius a layer. LRA's own code reshapes to [block, blocks] instead
    of [blocks, block] and so attends to every n-th token of the whole sequence.
    """
    length, block = q.shape[1], max(radius, 1)

    def blocks(x: Array) -> Array:  # [batch, blocks, block, ...]
        x = pad_to_multiple(x, block)
        return x.reshape(x.shape[0], -1, block, *x.shape[2:])

    def neighbours(
        x: Array,
    ) -> Array:  # [batch, blocks, 3 block, ...]: the block before, itself, the one after
        x = blocks(x)
        around = jnp.pad(x, [(0, 0), (1, 1), *[(0, 0)] * (x.ndim - 2)])
        return jnp.concatenate([around[:, :-2], around[:, 1:-1], around[:, 2:]], axis=2)

    near = jnp.abs(jnp.arange(3 * block)[None, :] - block - jnp.arange(block)[:, None]) <= radius
    allowed = near & neighbours(mask)[:, :, None, None, :]
    out = attend(blocks(q), neighbours(k), neighbours(v), allowed, dropout)[0]
    return out.reshape(out.shape[0], -1, *out.shape[3:])[:, :length]
