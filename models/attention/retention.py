"""retention: RetNet's multi-scale retention, linear attention with a decay and a rotation by distance, both ways."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.angles import rotate
from lra.models.attention.multihead import merge_heads, projection, split_heads
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.linear_attention import linear_attention
from lra.models.oracles.retention import oracle


def log_gammas(heads: int) -> Float[np.ndarray, " heads"]:
    """log(1 - 2^(-5-h)), h = 0, 1, ..."""
    return np.log1p(-(2.0 ** (-5 - np.arange(heads))))


@register_attention("retention", oracle=oracle, paper="Sun et al. 2023, 2307.08621", cost="L e d", reads_positions=True)
class Retention(nnx.Module):
    """swish(x W_G) * norm(retention of each head) W_O (equations 5, 7 and 8), made bidirectional.

    Token m reaches n with gamma_h^|n-m| times the real part of q_n conj(k_m) exp(i theta (n-m)), with gamma_h = 1 -
    2^(-5-h) in head h = 0, 1, ... The paper's D is 0 for m > n; here it is mirrored, and a token counts itself once.
    Distances are those in the sequence, padding between two tokens included.

    Args:
      expand: values and gate are expand qkv_dim wide; queries and keys are qkv_dim wide. The default, 2, is the
        paper's.

    The norm of each head is the RMS norm without weights of the authors' code; the paper's GroupNorm would also
    subtract the mean. The norm undoes the scalings by 1/sqrt(head_dim), sum D and sum |R|, and so these are left out:
    all sums are in float32.
    """

    def __init__(self, shape: Shape, *, expand: int = 2, rngs: nnx.Rngs):
        if shape.head_dim % 2:
            raise UsageError(f"retention rotates pairs of channels: qkv_dim / heads = {shape.head_dim} must be even")
        if expand < 1:
            raise UsageError(f"retention.expand = {expand} must be at least 1")
        width = expand * shape.qkv_dim
        self.heads = shape.heads
        self.q, self.k = (projection(shape.dim, shape.qkv_dim, rngs) for _ in "qk")
        self.v, self.gate = (projection(shape.dim, width, rngs) for _ in "vg")
        self.norm = nnx.RMSNorm(width // shape.heads, use_scale=False, epsilon=1e-6, rngs=rngs)
        self.out = projection(width, shape.dim, rngs)

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        q, k, v = (split_heads(project(x), self.heads) for project in (self.q, self.k, self.v))
        log_decay = jnp.float32(log_gammas(self.heads))[None, None, :, None]
        y = linear_attention(rotate(q), rotate(k), v, mask, causal=False, log_decay=log_decay)
        y = nnx.silu(self.gate(x)) * merge_heads(self.norm(y)).astype(x.dtype)
        return self.out(y).astype(x.dtype)
