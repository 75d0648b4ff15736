"""dilated: LongNet's attention, within segments at several scales. Longer segments keep fewer of their tokens."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.blocks import pad_to_multiple
from lra.models.kernels.softmax import NO_DROPOUT, Dropout, attend, merge
from lra.models.oracles.dilated import oracle


@register_attention(
    "dilated",
    oracle=oracle,
    small={"segment": 4},
    paper="Ding et al. 2023, 2307.02486",
    cost="L w d",
    reads_positions=True,
)
class Dilated(nnx.Module):
    """Attention at several scales, merged by their softmax denominators (equations 2 to 10).

    Scale i cuts the sequence into segments of w_i = segment ratio^i tokens. In each segment, head h keeps the tokens h
    mod r_i, h mod r_i + r_i, ... with r_i = ratio^i. It attends densely among the tokens that it keeps. The scales go
    on until one segment holds the whole sequence. The output of a token is the sum of its outputs at the scales that
    kept it, each weighted with its share of the softmax denominators.

    Args:
      segment: w_0, the number of tokens in a segment at the first scale. A query sees as many keys at each scale that
        keeps it: 64 by default.
      ratio: the factor between one scale and the next, of the segment's length and of the distance between the tokens
        kept. By default each scale's segments are twice as long, and twice as sparse, as those of the scale before.

    The gradient passes through the shares of the denominators too, as the formula says. The authors' code stops it
    there.
    """

    def __init__(self, shape: Shape, *, segment: int = 64, ratio: int = 2, rngs: nnx.Rngs):
        if segment < 1 or ratio < 2:
            raise UsageError(f"dilated.segment = {segment} and dilated.ratio = {ratio} must be at least 1 and 2")
        scales = [(segment, 1)]
        while scales[-1][0] < shape.max_length:
            scales.append((scales[-1][0] * ratio, scales[-1][1] * ratio))
        self.scales, self.heads = tuple(scales), shape.heads

    def __call__(
        self,
        q: Float[Array, "batch length heads head_dim"],
        k: Float[Array, "batch length heads head_dim"],
        v: Float[Array, "batch length heads head_dim"],
        mask: Bool[Array, "batch length"],
        dropout: Dropout = NO_DROPOUT,
    ) -> Float[Array, "batch length heads head_dim"]:
        return merge([attend_scale(q, k, v, mask, w, r, dropout.fold_in(r)) for w, r in self.scales])

    def reach(self, length: int) -> Bool[np.ndarray, "length length"]:
        i, j = np.arange(length)[:, None], np.arange(length)
        phases = np.arange(self.heads)[:, None, None]
        seen = np.zeros((length, length), bool)
        for w, r in self.scales:
            kept = (i % r == phases % r) & (j % r == phases % r)
            seen |= kept.any(0) & (i // w == j // w)
        return seen


def attend_scale(
    q: Float[Array, "batch length heads head_dim"],
    k: Float[Array, "batch length heads head_dim"],
    v: Float[Array, "batch length heads head_dim"],
    mask: Bool[Array, "batch length"],
    width: int,
    dilation: int,
    dropout: Dropout,
) -> tuple[Float[Array, "batch length heads head_dim"], Float[Array, "batch length heads"]]:
    """One scale: outputs and logarithms of the denominators. They are 0 and -inf where a head did not keep
    the token.
    """
    length, heads = q.shape[1:3]
    # one-hot over the phases of the dilation: a gather whose transpose is no scatter
    kept = jnp.arange(heads) % dilation == jnp.arange(dilation)[:, None]  # [dilation, heads]

    def gather(x: Array) -> Array:  # [batch, segments, width / dilation, heads, head_dim]
        x = pad_to_multiple(x, width)
        x = x.reshape(x.shape[0], -1, width // dilation, dilation, *x.shape[2:])
        return jnp.where(kept[..., None], x, 0).sum(3)

    def scatter(x: Array, empty: float) -> Array:  # back to [batch, length, heads, ...]
        x = jnp.where(kept[..., *[None] * (x.ndim - 4)], jnp.expand_dims(x, 3), empty)
        return x.reshape(x.shape[0], -1, heads, *x.shape[5:])[:, :length]

    real = gather(jnp.broadcast_to(mask[..., None, None], (*mask.shape, heads, 1)))[..., 0] > 0
    out, denominators = attend(gather(q), gather(k), gather(v), mask=real, dropout=dropout)
    return scatter(out, 0), scatter(denominators, -jnp.inf)
