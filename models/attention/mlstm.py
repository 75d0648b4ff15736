"""mlstm: the xLSTM's memory in matrices, with exponential input gates and normalised reads, both ways."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.multihead import merge_heads, projection
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.attention.ways import WAYS, both_ways, convolution, convolve, matrix_state, turned
from lra.models.kernels.recurrence import close_gaps, open_gaps
from lra.models.oracles.mlstm import oracle

BLOCK = 4  # channels that the maps to queries, keys and values mix


@register_attention(
    "mlstm",
    oracle=oracle,
    # gates, of which logarithms add up over the sequence; a norm's gain costs little
    wide=("gates", "gate_bias", "gain"),
    paper="Beck et al. 2024, 2405.04517",
    cost="L e d",
    reads_positions=True,
)
class MLSTM(nnx.Module):
    """C_t = f_t C_{t-1} + i_t k_t v_t^T, n_t = f_t n_{t-1} + i_t k_t, h_t = C_t^T q_t / max(|n_t . q_t|, 1) in each
    head (equations 19 to 26), with i = exp(gate) and f = sigmoid(gate).

    Around it stands the block of the paper's figure 11. u, z = x W_in; a = silu(conv(u)); q and k come from a, and v
    from u, by maps that mix blocks of 4 channels, k divided by the root of a head's width; the gates are linear in q, k
    and v. The output is ((LayerNorm(h) * gain + skip a) * silu(z)) W_out, with the norm over each head.

    The paper is causal. Here each direction has its own convolution and gates. They share all other parameters, and
    their h, normalised each by its own n, are added, so that a token counts itself twice. The sum of their a is
    skipped to the output.

    Args:
      expand: the width of u and z is expand qkv_dim. The default is the one in the authors' code.
      conv: tokens that the depthwise convolution reads: a token and those before it, in the order of its direction. The
        default is the one in the authors' code.

    Gaps in the mask are closed first; padding has i = 0. What the gates and the maps start from is in the authors'
    code, which also adds 10^-6 to the normaliser.
    """

    def __init__(self, shape: Shape, *, expand: int = 2, conv: int = 4, rngs: nnx.Rngs):
        for name, value in (("expand", expand), ("conv", conv)):
            if value < 1:
                raise UsageError(f"mlstm.{name} = {value} must be at least 1")
        width, self.heads = expand * shape.qkv_dim, shape.heads
        if width % BLOCK:
            raise UsageError(f"mlstm.expand * encoder.qkv_dim = {width} does not divide into blocks of {BLOCK}")
        self.into = projection(shape.dim, 2 * width, rngs)
        self.conv, self.conv_bias = convolution((conv, WAYS, width), rngs)
        normal = lambda scale, *sizes: scale * jax.random.normal(rngs.params(), sizes)
        self.maps = nnx.Param(normal((2 / (5 * shape.dim)) ** 0.5, 3, width // BLOCK, BLOCK, BLOCK))  # of q, k, v
        self.gates = nnx.Param(jnp.zeros((WAYS, 3 * width, 2, shape.heads)))  # input, forget
        forget = jnp.broadcast_to(jnp.linspace(3.0, 6.0, shape.heads), (WAYS, shape.heads))
        self.gate_bias = nnx.Param(jnp.stack([normal(0.1, WAYS, shape.heads), forget], 1))
        self.norm = nnx.LayerNorm(width // shape.heads, epsilon=1e-5, use_bias=False, use_scale=False, rngs=rngs)
        self.gain, self.skip = nnx.Param(jnp.ones(width)), nnx.Param(jnp.ones(width))
        self.out = projection(width, shape.dim, rngs)

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        u, z = jnp.split(self.into(close_gaps(x, mask)), 2, -1)
        u = both_ways(u)
        a = nnx.silu(convolve(u, self.conv, self.conv_bias, before=self.conv.shape[0] - 1))
        blocks = lambda y: y.reshape(*y.shape[:3], -1, BLOCK)
        maps = self.maps.get_value().astype(x.dtype)
        q, k, v = (
            jnp.einsum("blwgc,gcd->blwgd", blocks(y), of_blocks).reshape(u.shape)
            for y, of_blocks in zip((a, a, u), maps)
        )
        gates = jnp.einsum("blwc,wcgh->blwgh", jnp.concatenate([q, k, v], -1), self.gates.get_value())
        inputs, forget = jnp.unstack(gates.astype(jnp.float32) + self.gate_bias.get_value().astype(jnp.float32), axis=3)
        real = jnp.arange(x.shape[1]) < mask.sum(1, keepdims=True)
        inputs = jnp.where(both_ways(real)[..., None], inputs, -jnp.inf)

        q, k, v = (y.reshape(*y.shape[:3], self.heads, -1) for y in (q, k, v))
        h = turned(read_memory(q, k * k.shape[-1] ** -0.5, v, inputs, nnx.log_sigmoid(forget))).sum(2)
        gain, skip = (y.get_value().astype(jnp.float32) for y in (self.gain, self.skip))
        y = merge_heads(self.norm(h)) * gain + skip * turned(a).sum(2)
        return open_gaps(self.out((y * nnx.silu(z)).astype(x.dtype)), mask).astype(x.dtype)


def read_memory(
    q: Float[Array, "batch length ways heads head_dim"],
    k: Float[Array, "batch length ways heads head_dim"],
    v: Float[Array, "batch length ways heads head_dim"],
    log_i: Float[Array, "batch length ways heads"],
    log_f: Float[Array, "batch length ways heads"],
) -> Float[Array, "batch length ways heads head_dim"]:
    """C_t^T q_t / max(|n_t . q_t|, 1), in float32.

    The states are those of the formula times exp(-m_t), with m_t = max(m_{t-1} + log f_t, log i_t, 0): no gate of
    theirs is above 1. What is read does not depend on m, and has no gradient by it.
    """
    later = lambda one, two: (one[0] + two[0], jnp.maximum(one[1] + two[0], two[1]))
    m = jnp.maximum(jax.lax.associative_scan(later, (log_f, log_i), axis=1)[1], 0)
    m = jax.lax.stop_gradient(m)
    before = jnp.pad(m[:, :-1], ((0, 0), (1, 0), (0, 0), (0, 0)))
    taken = jnp.exp(log_i - m)[..., None]
    y = matrix_state(q, k, jnp.concatenate([taken * v, taken], -1).astype(v.dtype), log_f + before - m)
    above, below = y[..., :-1].astype(jnp.float32), y[..., -1:].astype(jnp.float32)
    # exp(-m) must not be 0: where no token is read at all, `below` is
    return above / jnp.maximum(jnp.abs(below), jnp.exp(-jnp.minimum(m, 80.0))[..., None])
