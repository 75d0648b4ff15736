"""fnet: the real part of a Fourier transform over positions and channels, instead of attention."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.oracles.fnet import oracle


@register_attention(
    "fnet", oracle=oracle, paper="Lee-Thorp et al. 2021, 2105.03824", cost="L log L d", reads_positions=True
)
class FNet(nnx.Module):
    """Re(F_seq F_hidden x) (section 3.2). It has no parameters, no heads and no options.

    The transform over positions always has the length of the longest sequence, to which the authors pad, and padded
    tokens are 0. So neither the content nor the amount of the padding changes anything. The authors transform the
    padding with the rest.

    Both transforms are unitary. The paper's are not: they make numbers sqrt(length dim) times as large, and the layer
    norm after them undoes that. In this encoder the norm is before the mixer.
    """

    def __init__(self, shape: Shape, *, rngs: nnx.Rngs):
        self.shape = shape

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        length = x.shape[1]
        self.shape.admit(length, "fnet")
        real = jnp.where(mask[..., None], x, 0).astype(jnp.float32)
        transformed = jnp.fft.fft2(real, (self.shape.max_length, x.shape[2]), norm="ortho").real
        return transformed[:, :length].astype(x.dtype)
