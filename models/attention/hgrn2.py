"""hgrn2: a gated linear recurrence whose forget gates have lower bounds that rise from layer to layer, both ways."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.models.attention.hgrn import Gamma, bounded_gate
from lra.models.attention.multihead import merge_heads, projection, split_heads
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.linear_attention import linear_attention
from lra.models.oracles.hgrn2 import oracle


@register_attention(
    "hgrn2",
    oracle=oracle,
    paper="Qin et al. 2024, 2404.07904",
    cost="L e d",
    reads_positions=True,
    by_layer=True,
    wide=("gamma", "norm"),  # gamma bounds the decays, which add up over the sequence; a norm costs little
)
class HGRN2(nnx.Module):
    """S_t = diag(f_t) S_{t-1} + (1 - f_t) i_t^T, y_t = S_t^T o_t in each head, then LayerNorm over all heads and W_o.

    f = bound + (1 - bound) sigmoid(x W_f), i = silu(x W_i), o = sigmoid(x W_o). It has no options: the authors'
    expansion r is here the width of a head, qkv_dim / heads. The authors' expansions on LRA are 1 to 8. The bound is
    hgrn's. The first layer owns Gamma and hands it on to the others. A model of a single layer has none.

    Both directions share all parameters and are summed, so that a token counts itself twice, as in the authors'
    bidirectional module. On images the authors' module scans rows and columns; this one sees one sequence. The authors'
    module has biases; here only the norm has one.
    """

    def __init__(self, shape: Shape, *, rngs: nnx.Rngs):
        self.heads, self.layer = shape.heads, shape.layer
        self.forget, self.input, self.output = (projection(shape.dim, shape.qkv_dim, rngs) for _ in "fio")
        self.norm = nnx.LayerNorm(shape.qkv_dim, epsilon=1e-5, rngs=rngs)
        self.out = projection(shape.qkv_dim, shape.dim, rngs)
        owner = shape.layer == 0 and shape.layers > 1
        self.gamma = nnx.Param(jnp.ones((shape.layers, shape.qkv_dim))) if owner else None

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"], carry: Gamma | None
    ) -> tuple[Float[Array, "batch length dim"], Gamma | None]:
        gamma = carry if self.gamma is None else self.gamma.get_value()
        forgotten, log_kept = bounded_gate(self.forget(x), gamma, self.layer)
        o, k, v, log_decay = (
            split_heads(y, self.heads)
            for y in (nnx.sigmoid(self.output(x)), forgotten, nnx.silu(self.input(x)), log_kept)
        )
        y = linear_attention(o, k, v, mask, causal=False, log_decay=log_decay, own_twice=True)
        return self.out(self.norm(merge_heads(y)).astype(x.dtype)).astype(x.dtype), gamma
