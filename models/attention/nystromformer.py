"""nystromformer: softmax attention approximated by the Nystrom method, from its values at a few landmarks."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.blocks import from_blocks, into_blocks, with_neighbours
from lra.models.kernels.softmax import attend
from lra.models.oracles.nystromformer import oracle

# the iteration towards an inverse loses its digits where products of matrices are rounded
multiply = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


def inverse(a: Float[Array, "*batch c c"], iterations: int) -> Float[Array, "*batch c c"]:
    """The pseudo-inverse of a row-stochastic matrix, which a third-order iteration approaches (section 3).

    The first guess is A^T / (|A|_1 |A|_inf). The largest row sum |A|_inf is 1.
    """
    eye = jnp.eye(a.shape[-1], dtype=a.dtype)
    z = jnp.swapaxes(a, -1, -2) / a.sum(-2).max(-1)[..., None, None]
    for _ in range(iterations):
        az = multiply(a, z)
        z = multiply(z, 13 * eye - multiply(az, 15 * eye - multiply(az, 7 * eye - az))) / 4
    return z


@register_attention(
    "nystromformer",
    oracle=oracle,
    small={"landmarks": 5, "kernel": 5},
    paper="Xiong et al. 2021, 2102.03902",
    cost="L c d",
    reads_positions=True,
)
class Nystromformer(nnx.Module):
    """softmax(Q K~^T) Z softmax(Q~ K^T) V + conv(V), Z the pseudo-inverse of softmax(Q~ K~^T) (section 3).

    All logits are divided by sqrt(head_dim). The landmarks Q~ and K~ are the means of segments of ceil(max_length / c)
    tokens. conv has a filter over positions for each head.

    Args:
      landmarks: c, the number of landmarks. The default is that of the LRA results which the authors report.
      kernel: the number of tokens that the convolution reads; it is odd. The default is that of all the authors' runs
        on LRA.
      iterations: steps of the iteration towards Z. They are few, and so part of the model. The default is the authors'.

    Means are over real tokens, and a segment without any is left out. In the authors' code padding counts in the means
    and as keys of two of the softmaxes, and one number for the whole batch scales the first guess of Z. No probability
    is dropped, as in that code.
    """

    def __init__(self, shape: Shape, *, landmarks: int = 128, kernel: int = 35, iterations: int = 6, rngs: nnx.Rngs):
        for name, value in (("landmarks", landmarks), ("kernel", kernel), ("iterations", iterations)):
            if value < 1:
                raise UsageError(f"nystromformer.{name} = {value} must be at least 1")
        if kernel % 2 == 0:
            raise UsageError(f"nystromformer.kernel = {kernel} must be odd")
        self.segment, self.iterations = -(-shape.max_length // landmarks), iterations
        init = functools.partial(jax.random.uniform, minval=-(kernel**-0.5), maxval=kernel**-0.5)
        self.conv = nnx.Param(init(rngs.params(), (kernel, shape.heads)))

    def __call__(
        self,
        q: Float[Array, "batch length heads head_dim"],
        k: Float[Array, "batch length heads head_dim"],
        v: Float[Array, "batch length heads head_dim"],
        mask: Bool[Array, "batch length"],
    ) -> Float[Array, "batch length heads head_dim"]:
        dtype, real = v.dtype, mask[..., None, None]
        # in float32 whatever the tokens are: Z has large numbers of both signs, which multiply rounding errors
        q, k, v = (jnp.where(real, x, 0).astype(jnp.float32) for x in (q, k, v))
        counts = into_blocks(mask, self.segment).sum(2)
        means = lambda x: into_blocks(x, self.segment).sum(2) / jnp.maximum(counts, 1)[..., None, None]
        q_means, k_means, present = means(q), means(k), counts > 0

        logits = jnp.einsum("bihd,bjhd->bhij", q_means, k_means) * q.shape[-1] ** -0.5
        # a landmark without real tokens sees itself alone and is seen by no other: A and Z have 1 on their diagonals
        allowed = jnp.where(present[:, :, None], present[:, None, :], jnp.eye(present.shape[1], dtype=bool))
        z = inverse(jax.nn.softmax(jnp.where(allowed[:, None], logits, -jnp.inf)), self.iterations)

        of_landmarks = attend(q_means, k, v, mask=mask[..., None], lse=False)[0]
        of_landmarks = jnp.einsum("bhij,bjhd->bihd", z, of_landmarks, precision=jax.lax.Precision.HIGHEST)
        out = attend(q, k_means, of_landmarks, mask=present[..., None], lse=False)[0]
        return (out + self.convolve(v)).astype(dtype)

    def convolve(self, v: Float[Array, "batch length heads head_dim"]) -> Float[Array, "batch length heads head_dim"]:
        """sum_t conv[t] v[i + t - kernel // 2], zeros beyond both ends: a banded matrix in blocks.

        A depthwise convolution of XLA's takes many times as long on a CPU, a sum over t as much more memory.
        """
        weights = self.conv.get_value().astype(v.dtype)
        width = len(weights)
        tap = jnp.arange(3 * width) - width - jnp.arange(width)[:, None] + width // 2
        band = jnp.where(((tap >= 0) & (tap < width))[..., None], weights[jnp.clip(tap, 0, width - 1)], 0)
        out = jnp.einsum("ijh,bnjhd->bnihd", band, with_neighbours(into_blocks(v, width)))
        return from_blocks(out, v.shape[1])
