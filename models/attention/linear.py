"""linear: linear attention with the feature map elu + 1."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lra.models.attention.registry import register_attention
from lra.models.kernels.linear_attention import linear_attention
from lra.models.oracles.linear import oracle


def elu_plus_one(x: Array) -> Array:
    # the minimum keeps exp, and with it the gradient of the branch not taken, finite
    return jnp.where(x > 0, x + 1, jnp.exp(jnp.minimum(x, 0)))


@register_attention("linear", oracle=oracle, paper="Katharopoulos et al. 2020, 2006.16236", cost="L d^2/h")
def linear(
    q: Float[Array, "batch length heads head_dim"],
    k: Float[Array, "batch length heads head_dim"],
    v: Float[Array, "batch length heads head_dim"],
    mask: Bool[Array, "batch length"],
    epsilon: float = 1e-6,
) -> Float[Array, "batch length heads head_dim"]:
    """Equations 5 and 7. LRA's own code does not mask the padding.

    Args:
      epsilon: added to the sum of weights that the output is divided by. The default is the one in the authors' code.
    """
    normaliser = lambda sums: jnp.where(sums > 0, sums + epsilon, 1)
    return linear_attention(elu_plus_one(q), elu_plus_one(k), v, mask, causal=False, normaliser=normaliser)
