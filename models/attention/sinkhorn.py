"""sinkhorn: softmax attention to a token's own block and to a sorted block, which a learned soft permutation makes."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.blocks import from_blocks, into_blocks
from lra.models.kernels.softmax import NO_DROPOUT, Dropout, attend
from lra.models.oracles.sinkhorn import oracle

NEVER = -1e9  # the logit of a block without real tokens: finite, so that its gradient is 0 and not NaN
LEAST = 1e-20  # a key with a smaller share is not seen: the logarithm of the share has a gradient of nearly 0


def balance(
    logits: Float[Array, "*heads blocks blocks"], real: Bool[Array, "*#heads blocks blocks"], iterations: int
) -> Float[Array, "*heads blocks blocks"]:
    """Sinkhorn's iterations: rows and columns are brought in turn to sums of 1. Entries are 0 where there is no real
    block.
    """
    logits = jnp.where(real, logits, NEVER)
    for _ in range(iterations):
        for axis in (-1, -2):
            logits = jnp.where(real, logits - jax.nn.logsumexp(logits, axis, keepdims=True), NEVER)
    return jnp.where(real, jnp.exp(logits), 0)


@register_attention(
    "sinkhorn",
    oracle=oracle,
    small={"block": 4},
    paper="Tay et al. 2020, 2002.11296",
    cost="L^2 d / b",
    memory="L^2 / b^2",
    reads_positions=True,
)
class Sinkhorn(nnx.Module):
    """Sparse Sinkhorn attention (section 3): one softmax over the keys of the own block and of the sorted block.

    The sort net of a head is relu(relu(x W + b) W' + b'). It takes the sum x of a block's keys to a logit for each
    block. The logits, divided by the temperature and balanced, are a soft permutation S of the blocks that have a real
    token. Sorted block i is sum_j S_ij block_j, place by place, for keys and values. Padded tokens are 0 in that sum.
    The sorted key at a place counts with the share of S_i that is on real tokens, which is below 1 only if a block is
    partly padded.

    Args:
      block: b, the number of tokens in a block. The default is within the paper's range; LRA's blocks have 50 tokens,
        on images 64.
      temperature: divides the logits of the sort net. The default is within the paper's range.
      iterations: the number of Sinkhorn's iterations. The default is within the paper's range.

    Gumbel noise is added to the logits in training. The paper's net reads the sum of a block's tokens. Here it reads
    the sum of a head's keys, which are linear in the tokens. LRA's own code has a softmax in place of Sinkhorn's
    iterations, and multiplies by it in such a way that every sorted block is the sum of all blocks.
    """

    def __init__(
        self, shape: Shape, *, block: int = 64, temperature: float = 0.75, iterations: int = 5, rngs: nnx.Rngs
    ):
        for name, value in (("block", block), ("iterations", iterations)):
            if value < 1:
                raise UsageError(f"sinkhorn.{name} = {value} must be at least 1")
        if not temperature > 0:
            raise UsageError(f"sinkhorn.temperature = {temperature} must be greater than 0")
        self.shape, self.block, self.temperature, self.iterations = shape, block, temperature, iterations
        heads, width, blocks = shape.heads, shape.head_dim, -(-shape.max_length // block)
        init = nnx.initializers.xavier_uniform(batch_axis=0)
        self.hidden = nnx.Param(init(rngs.params(), (heads, width, width)))
        self.hidden_bias = nnx.Param(jnp.zeros((heads, width)))
        self.sort = nnx.Param(init(rngs.params(), (heads, width, blocks)))
        self.sort_bias = nnx.Param(jnp.zeros((heads, blocks)))
        self.noise, self.deterministic = rngs.dropout.fork(), False

    def permutation(
        self, k: Float[Array, "batch blocks block heads head_dim"], real: Bool[Array, "batch blocks"]
    ) -> Float[Array, "batch heads blocks blocks"]:
        """S. Row i has the shares of all blocks in the sorted block beside block i."""
        blocks = k.shape[1]
        hidden, hidden_bias, sort, sort_bias = (
            weight.get_value().astype(jnp.float32)
            for weight in (self.hidden, self.hidden_bias, self.sort, self.sort_bias)
        )
        x = k.astype(jnp.float32).sum(2)
        x = nnx.relu(jnp.einsum("bnhd,hde->bnhe", x, hidden) + hidden_bias)
        logits = jnp.einsum("bnhe,hem->bhnm", x, sort[..., :blocks]) + sort_bias[:, None, :blocks]
        logits = nnx.relu(logits)
        if not self.deterministic:
            logits += jax.random.gumbel(self.noise(), logits.shape)
        real = (real[:, :, None] & real[:, None, :])[:, None]
        return balance(logits / self.temperature, real, self.iterations)

    def __call__(
        self,
        q: Float[Array, "batch length heads head_dim"],
        k: Float[Array, "batch length heads head_dim"],
        v: Float[Array, "batch length heads head_dim"],
        mask: Bool[Array, "batch length"],
        dropout: Dropout = NO_DROPOUT,
    ) -> Float[Array, "batch length heads head_dim"]:
        length = q.shape[1]
        self.shape.admit(length, "sinkhorn")
        k, v = (jnp.where(mask[..., None, None], x, 0) for x in (k, v))
        q, k, v, real = (into_blocks(x, self.block) for x in (q, k, v, mask))
        s = self.permutation(k, real.any(2))
        with_sorted = lambda x: jnp.concatenate([jnp.einsum("bhij,bjthd->bithd", s.astype(x.dtype), x), x], 2)
        total = s.sum(-1)
        share = jnp.einsum("bhij,bjt->bith", s, real) / jnp.where(total > 0, total, 1).swapaxes(1, 2)[:, :, None]
        share = jnp.concatenate([share, jnp.broadcast_to(real[..., None], share.shape)], 2)
        seen = share > LEAST  # [batch, blocks, 2 block, heads]
        bias = jnp.log(jnp.where(seen, share, 1)).swapaxes(2, 3)[..., None, :]
        out = attend(q, with_sorted(k), with_sorted(v), mask=seen, bias=bias, dropout=dropout, lse=False)[0]
        return from_blocks(out, length)
