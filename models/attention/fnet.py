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
    """Re(F_seq F_hidden x) (section 3.2); no parameters, no heads.

    The transform over positions is always of the longest sequence's length, which is what the authors pad to, and
    padded tokens are 0: so neither what the padding holds nor how much there is of it changes anything. The authors
    transform the padding with the rest.

    Both transforms are unitary. The paper's are not, and make numbers sqrt(length dim) times as large, which its layer
    norm after them undoes; ours is before them.
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
