"""local: softmax attention to the tokens within a fixed distance, both ways."""

import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.softmax import NO_DROPOUT, Dropout, Window, attend
from lra.models.oracles.local import oracle


@register_attention(
    "local",
    oracle=oracle,
    small={"radius": 2},
    paper="sliding window of Beltagy et al. 2020, 2004.05150, section 3.1",
    cost="L w d",
    reads_positions=True,
)
class Local(nnx.Module):
    """softmax over the real tokens j with |i - j| <= radius, a window of w = 2 radius + 1.

    Windows slide, so each layer adds `radius` to how far the model sees. LRA's own code reshapes to [block, blocks]
    instead of [blocks, block], and so attends to every n-th token of the whole sequence.

    Args:
      radius: tokens on each side of a query that it sees. The default makes windows of 51 tokens, the symmetric size
        next to LRA's blocks of 50.
    """

    def __init__(self, shape: Shape, *, radius: int = 25, rngs: nnx.Rngs):
        if radius < 0:
            raise UsageError(f"local.radius = {radius} must be at least 0")
        self.radius = radius

    def __call__(
        self,
        q: Float[Array, "batch length heads head_dim"],
        k: Float[Array, "batch length heads head_dim"],
        v: Float[Array, "batch length heads head_dim"],
        mask: Bool[Array, "batch length"],
        dropout: Dropout = NO_DROPOUT,
    ) -> Float[Array, "batch length heads head_dim"]:
        window = Window(self.radius, self.radius)
        return attend(q, k, v, mask=mask[..., None], pattern=window, dropout=dropout, lse=False)[0]

    def reach(self, length: int) -> Bool[np.ndarray, "length length"]:
        i = np.arange(length)
        return np.abs(i[:, None] - i) <= self.radius
