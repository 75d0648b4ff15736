"""deltaproduct: several steps of the delta rule for each token, whose product is a richer transition."""

from flax import nnx

from lra.models.attention.delta import DeltaLayer
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.oracles.deltaproduct import oracle


@register_attention(
    "deltaproduct",
    oracle=oracle,
    wide=("norm",),  # it costs little
    paper="Siems et al. 2025, 2502.10297",
    cost="L e d",
    reads_positions=True,
)
class DeltaProduct(DeltaLayer):
    """As deltanet, with `steps` keys, values and beta for each token. One after the other corrects the state, S <- (I -
    beta k k^T) S + beta k v^T, and then the token reads it (equation 4). A product of two reflections is a rotation, so
    that two steps a token track S3, where one tracks Z2.

    Directions are as in deltanet.

    Args:
      steps: the steps of a token, the paper's n_h.
      conv: tokens that the depthwise convolution reads: a token and those before it, in the order of its way.
      negative: doubles beta, as in deltanet; the paper's trackers of states have it.
    """

    def __init__(self, shape: Shape, *, steps: int = 2, conv: int = 4, negative: bool = True, rngs: nnx.Rngs):
        super().__init__("deltaproduct", shape, conv=conv, negative=negative, steps=steps, rngs=rngs)
