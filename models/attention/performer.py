"""performer: FAVOR+, an unbiased estimate of softmax attention by positive orthogonal random features."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.linear_attention import linear_attention
from lra.models.kernels.turns import recomputed_in_turn
from lra.models.oracles.performer import oracle


class Projection(nnx.Variable):
    """The random directions. They are kept with the parameters and never trained."""


def orthogonal_gaussian(key: Key[Array, ""], rows: int, columns: int) -> Float[Array, "rows columns"]:
    """Rows of N(0, I) marginals that are orthogonal within blocks of `columns` rows (section 2.4)."""
    directions, norms = jax.random.split(key)
    q, r = jnp.linalg.qr(jax.random.normal(directions, (-(-rows // columns), columns, columns)))
    q = q * jnp.sign(jnp.diagonal(r, axis1=1, axis2=2))[:, None, :]  # makes q uniform over all rotations
    lengths = jnp.linalg.norm(jax.random.normal(norms, (rows, columns)), axis=1, keepdims=True)
    return jnp.swapaxes(q, 1, 2).reshape(-1, columns)[:rows] * lengths


def positive_features(
    x: Float[Array, "batch length heads head_dim"],
    projection: Float[Array, "features head_dim"],
    over: tuple[int, ...],
    mask: Bool[Array, "batch length 1 1"],
    epsilon: float,
) -> Float[Array, "batch length heads features"]:
    """(exp(W x' - |x'|^2 / 2 - c) + epsilon) / sqrt(features) with x' = x head_dim^-1/4 (lemma 1); 0 for padding.

    c is the largest exponent over the axes `over`. It cancels in the attention, but for epsilon. All keys have the same
    c: a c for each key would change the weights of the keys.
    """
    x = x.astype(jnp.float32) * x.shape[-1] ** -0.25
    exponent = jnp.einsum("blhd,md->blhm", x, projection) - jnp.square(x).sum(-1, keepdims=True) / 2
    exponent = jnp.where(mask, exponent, -jnp.inf)
    top = exponent.max(over, keepdims=True)
    top = jnp.where(jnp.isfinite(top), top, 0)
    return jnp.where(mask, jnp.exp(exponent - top) + epsilon, 0) * projection.shape[0] ** -0.5


@register_attention(
    "performer", oracle=oracle, small={"features": 6}, paper="Choromanski et al. 2021, 2009.14794", cost="L m d"
)
class Performer(nnx.Module):
    """FAVOR+ for softmax (equations 5 and 8), bidirectional.

    Args:
      features: m, the number of random features. All heads share one projection. The default is the one in the authors'
        code.
      redraw_every: training steps between new projections; 0 keeps the first. Evaluation uses the projection drawn
        last. The default is this project's: the authors' code redraws at every call.
      epsilon: added to every feature, as the authors' code does. The default is theirs.

    LRA's own code draws no features: it takes relu(x) + 0.001, and does not mask the padding.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        features: int = 256,
        redraw_every: int = 100,
        epsilon: float = 1e-6,
        rngs: nnx.Rngs,
    ):
        self.redraw_every, self.epsilon = redraw_every, epsilon
        self.projection = Projection(orthogonal_gaussian(rngs.params(), features, shape.head_dim))

    def redraw(self, key: Key[Array, ""], step: Int[Array, ""]) -> None:
        """Draws a new projection if it is time. The trainer calls it at the beginning of each training step."""
        if self.redraw_every:
            old = self.projection.get_value()
            new = lambda: orthogonal_gaussian(key, *old.shape)
            self.projection.set_value(jax.lax.cond(step % self.redraw_every == 0, new, lambda: old))

    def __call__(
        self,
        q: Float[Array, "batch length heads head_dim"],
        k: Float[Array, "batch length heads head_dim"],
        v: Float[Array, "batch length heads head_dim"],
        mask: Bool[Array, "batch length"],
    ) -> Float[Array, "batch length heads head_dim"]:
        projection = self.projection.get_value()
        numbers = (q.shape[1] + k.shape[1]) * len(projection)  # the features of one head, which stay in a CPU's cache
        return recomputed_in_turn(self.estimate, numbers, (q, k, v), mask[..., None, None], projection)

    def estimate(
        self,
        x: Sequence[Float[Array, "batch length heads head_dim"]],
        real: Bool[Array, "batch length 1 1"],
        projection: Float[Array, "features head_dim"],
    ) -> Float[Array, "batch length heads head_dim"]:
        q, k, v = x
        phi_q = positive_features(q, projection, (3,), jnp.ones_like(real), self.epsilon)
        phi_k = positive_features(k, projection, (1, 3), real, self.epsilon)
        normaliser = lambda sums: jnp.where(sums > 0, sums, 1)
        return linear_attention(phi_q, phi_k, v, causal=False, normaliser=normaliser)
