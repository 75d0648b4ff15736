"""lightconv: a short convolution whose few kernels are a softmax of weights, learned or made from the token."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.multihead import merge_heads, projection, split_heads
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.oracles.lightconv import oracle


@register_attention(
    "lightconv",
    oracle=oracle,
    small={"kernel": 5},
    paper="Wu et al. 2019, 1901.10430",
    cost="L K d",
    reads_positions=True,
)
class LightConv(nnx.Module):
    """u = (x W_a) sigmoid(x W_b), y_t = sum_j softmax(w)_j u_{t+j-(K-1)/2}, a kernel w for each head; output y W.

    It attends to nothing, and each layer sees (K - 1) / 2 tokens on each side: a control that shows what a task needs
    of neither attention nor range.

    Args:
      kernel: K, an odd number of tokens. The authors' encoders have 3, 7, 15 and, in all layers from the fourth on, 31;
        the default is 31 in each layer.
      dynamic: makes each token's own kernels, w_t = u_t W_k (the paper's dynamic convolution), instead of learning one
        for all tokens.

    Kernels see padding as 0, as the end of a sequence; the weights of taps on it are not given to the others. The
    authors' matrices have biases, and their kernels have dropout; these have none.
    """

    def __init__(self, shape: Shape, *, kernel: int = 31, dynamic: bool = False, rngs: nnx.Rngs):
        if kernel < 1 or kernel % 2 == 0:
            raise UsageError(f"lightconv.kernel = {kernel} must be odd")
        self.kernel, self.heads = kernel, shape.heads
        self.into = projection(shape.dim, 2 * shape.qkv_dim, rngs)
        self.out = projection(shape.qkv_dim, shape.dim, rngs)
        self.weights: nnx.Linear | nnx.Param = (
            projection(shape.qkv_dim, shape.heads * kernel, rngs)
            if dynamic
            else nnx.Param(nnx.initializers.xavier_uniform()(rngs.params(), (shape.heads, kernel)))
        )

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        length, side = x.shape[1], self.kernel // 2
        u = jnp.where(mask[..., None], nnx.glu(self.into(x)), 0)
        if isinstance(self.weights, nnx.Linear):
            weights = split_heads(self.weights(u), self.heads)
        else:
            weights = self.weights.get_value()
        taps = jax.nn.softmax(weights.astype(jnp.float32), -1).astype(x.dtype)  # [..., heads, kernel]
        padded = jnp.pad(split_heads(u, self.heads), ((0, 0), (side, side), (0, 0), (0, 0)))
        y = jnp.zeros_like(padded[:, :length])
        for j in range(self.kernel):
            y = y + taps[..., j, None] * padded[:, j : j + length]
        return self.out(merge_heads(y)).astype(x.dtype)

    def reach(self, length: int) -> Bool[np.ndarray, "length length"]:
        i = np.arange(length)
        return np.abs(i[:, None] - i) <= self.kernel // 2
