"""linformer: softmax attention to a fixed number of learned mixtures of the keys."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.softmax import NO_DROPOUT, Dropout, attend
from lra.models.oracles.linformer import oracle


@register_attention(
    "linformer",
    oracle=oracle,
    small={"rank": 3, "share": "headwise"},
    paper="Wang et al. 2020, 2006.04768",
    cost="L k d",
    reads_positions=True,
)
class Linformer(nnx.Module):
    """softmax(q (E k)^T / sqrt(head_dim)) (F v), E and F of shape [rank, length] (equation 7).

    Args:
      rank: k, the number of mixtures of keys. The paper takes 128 to 256 for lengths from 512 to 1,024; the default is
        the larger.
      share: which matrices are one parameter. "key-value", the default, has E = F; "headwise" does not. Both have the
        same matrices in all heads (section 4, "Parameter sharing").

    Padded keys and values are 0 before they are mixed. LRA's own code mixes the padding in.
    """

    def __init__(self, shape: Shape, *, rank: int = 256, share: str = "key-value", rngs: nnx.Rngs):
        if share not in ("headwise", "key-value"):
            raise UsageError(f"linformer.share = '{share}' is neither 'headwise' nor 'key-value'")
        init = nnx.initializers.xavier_uniform()
        self.e = nnx.Param(init(rngs.params(), (rank, shape.max_length)))
        self.f = nnx.Param(init(rngs.params(), (rank, shape.max_length))) if share == "headwise" else None

    def __call__(
        self,
        q: Float[Array, "batch length heads head_dim"],
        k: Float[Array, "batch length heads head_dim"],
        v: Float[Array, "batch length heads head_dim"],
        mask: Bool[Array, "batch length"],
        dropout: Dropout = NO_DROPOUT,
    ) -> Float[Array, "batch length heads head_dim"]:
        length, longest = q.shape[1], self.e.get_value().shape[1]
        if length > longest:
            raise UsageError(f"linformer was built for at most {longest} tokens and got {length}")
        real = mask[..., None, None]

        def mix(matrix: nnx.Param, x: Array) -> Array:
            weights = matrix.get_value()[:, :length].astype(x.dtype)
            return jnp.einsum("bnhd,kn->bkhd", jnp.where(real, x, 0), weights)

        # no mask is needed: padded keys are 0 in every mixture
        return attend(q, mix(self.e, k), mix(self.f or self.e, v), dropout=dropout, lse=False)[0]
