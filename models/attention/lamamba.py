"""lamamba: selective state spaces in turn with softmax attention in windows."""

import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.local import Local
from lra.models.attention.mamba import Mamba
from lra.models.attention.multihead import MultiHead
from lra.models.attention.registry import VARIANTS, register_attention
from lra.models.attention.shape import Shape
from lra.models.oracles.lamamba import oracle


@register_attention(
    "lamamba",
    oracle=oracle,
    small={"state": 2, "radius": 2},
    wide=("dt_bias", "log_a"),  # they make steps and decays, which add up over the sequence
    paper="Fu et al. 2024, 2408.02615",
    cost="L w d",
    reads_positions=True,
    by_layer=True,
)
class LaMamba(nnx.Module):
    """In layers 0, 2, ...: the state spaces of `mamba`, both ways, with an inner width of qkv_dim. In layers 1, 3, ...:
    softmax attention to the tokens within `radius`, as in `local`.

    The paper's LaMamba block is that of a diffusion model for images: a scan of the plane in four directions, windows
    of 8 x 8 that shift by half in every other block and have relative positions, and an MLP, one after the other. This
    is its form for sequences, which is ours: the two mixers take turns from layer to layer, the scan has two
    directions and half of the paper's inner width, and windows slide.

    Args:
      state: the number of states in each channel. The default is the authors'.
      conv: tokens that the depthwise convolution reads, as in `mamba`. The default is the authors'.
      radius: tokens on each side of a query that it sees in a layer of windows. With the default a window has 65; the
        paper's have 64.
    """

    def __init__(self, shape: Shape, *, state: int = 1, conv: int = 3, radius: int = 32, rngs: nnx.Rngs):
        for name, value, least in (("state", state, 1), ("conv", conv, 1), ("radius", radius, 0)):
            if value < least:
                raise UsageError(f"lamamba.{name} = {value} must be at least {least}")
        self.radius, self.windowed = radius, bool(shape.layer % 2)
        self.mixer: Mamba | MultiHead
        if self.windowed:
            self.mixer = MultiHead(Local(shape, radius=radius, rngs=rngs), VARIANTS["local"], shape, rngs)
        else:
            self.mixer = Mamba(shape, state=state, expand=1, conv=conv, rngs=rngs)

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        return self.mixer(x, mask)

    def reach(self, length: int) -> Bool[np.ndarray, "length length"]:
        i = np.arange(length)
        return (np.abs(i[:, None] - i) <= self.radius) | (not self.windowed)
