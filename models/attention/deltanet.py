"""deltanet: a state that is corrected by each token, so that a new value of a key takes the place of the old one."""

from flax import nnx

from lra.models.attention.delta import DeltaLayer
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.oracles.deltanet import oracle


@register_attention(
    "deltanet",
    oracle=oracle,
    wide=("norm",),  # it costs little
    paper="Yang et al. 2024, 2406.06484",
    cost="L e d",
    reads_positions=True,
)
class DeltaNet(DeltaLayer):
    """S_t = (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T, y_t = S_t^T q_t / sqrt(head_dim) in each head (equation
    5), then RMSNorm in each head and W_o. q, k and v pass a short convolution and silu, q and k are of length 1, beta =
    sigmoid(x W_beta) (section 3.3).

    The paper's layer is causal. Here it runs in two ways, forward and backward, each with its own convolution and beta,
    which share the projections. Their y are summed, so that a token counts itself twice. Nobody has published such a
    form.

    Args:
      conv: tokens that the depthwise convolution reads: a token and those before it, in the order of its way.
      negative: doubles beta, so that a step can turn what a key holds into its opposite: the eigenvalues of I - beta k
        k^T are then between -1 and 1 (Grazzi et al. 2024, 2411.12537).
    """

    def __init__(self, shape: Shape, *, conv: int = 4, negative: bool = False, rngs: nnx.Rngs):
        super().__init__("deltanet", shape, conv=conv, negative=negative, rngs=rngs)
