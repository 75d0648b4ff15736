"""cosformer: linear attention with rectified features, re-weighted by a cosine of the distance."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.linear_attention import linear_attention
from lra.models.oracles.cosformer import oracle


@register_attention(
    "cosformer", oracle=oracle, paper="Qin et al. 2022, 2202.08791", cost="L d^2/h", reads_positions=True
)
class Cosformer(nnx.Module):
    """Weights relu(q_i) . relu(k_j) cos(pi/2 (i - j)/M), divided by their sum (section 3).

    Because cos(a - b) = cos a cos b + sin a sin b, this is linear attention on features of width 2 head_dim. M is the
    length of the longest sequence of the task. The authors' code takes the padded length of the batch.

    Args:
      epsilon: the smallest number that the output is divided by. The default is that of the authors' stand-alone code;
        their LRA code has 1e-4.
    """

    def __init__(self, shape: Shape, *, epsilon: float = 1e-6, rngs: nnx.Rngs):
        if epsilon <= 0:
            raise UsageError(f"cosformer.epsilon = {epsilon} must be above 0")
        self.epsilon, self.shape = epsilon, shape

    def __call__(
        self,
        q: Float[Array, "batch length heads head_dim"],
        k: Float[Array, "batch length heads head_dim"],
        v: Float[Array, "batch length heads head_dim"],
        mask: Bool[Array, "batch length"],
    ) -> Float[Array, "batch length heads head_dim"]:
        self.shape.admit(q.shape[1], "cosformer")
        angles = (jnp.pi / 2 / self.shape.max_length * jnp.arange(q.shape[1]))[:, None, None]

        def features(x: Array) -> Float[Array, "batch length heads features"]:
            x = jax.nn.relu(x.astype(jnp.float32))
            return jnp.concatenate([x * jnp.cos(angles), x * jnp.sin(angles)], -1)

        normaliser = lambda sums: jnp.maximum(sums, self.epsilon)
        return linear_attention(features(q), features(k), v, mask, causal=False, normaliser=normaliser)
