"""bigbird: blocks that see their neighbours, the first and the last block, and some at random."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from lra.errors import UsageError
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.blocks import from_blocks, into_blocks
from lra.models.kernels.softmax import NO_DROPOUT, Blocks, Dropout, attend, merge
from lra.models.oracles.bigbird import oracle


@register_attention(
    "bigbird",
    oracle=oracle,
    small={"block": 2, "random": 1},
    paper="Zaheer et al. 2020, 2007.14062",
    cost="L b d",
    reads_positions=True,
    by_layer=True,
)
class BigBird(nnx.Module):
    """BigBird-ITC (section 2, appendix D). The sequence is cut into blocks. A block has one softmax over the first
    block, the last block, itself, its two neighbours and `random` other blocks. The first and the last block attend to
    all blocks.

    The last block is the one that holds the last real token. The random blocks are a uniform sample, without
    replacement, of the blocks up to the last one that the block does not see already. So the amount of padding changes
    nothing, and a sequence of at most 4 + random blocks has full attention. The seed, the layer, the head, the block
    and the number of blocks in the sequence fix the sample; the content of the sequence does not.

    Args:
      block: b, the number of tokens in a block. The default is the one in the authors' scripts. With three random
        blocks, a query sees eight blocks of 64 keys.
      random: r, the number of random blocks that each block sees. The default is the one in the authors' scripts.
      seed: the seed of the random blocks.

    LRA's code and the authors' code take the last padded block as the last one. They draw random blocks from the
    padding too, and for some lengths from the first 1024 tokens only.
    """

    def __init__(self, shape: Shape, *, block: int = 64, random: int = 3, seed: int = 0, rngs: nnx.Rngs):
        for name, value, least in (("block", block, 1), ("random", random, 0), ("seed", seed, 0)):
            if value < least:
                raise UsageError(f"bigbird.{name} = {value} must be at least {least}")
        self.block, self.random, self.seed = block, random, seed
        self.heads, self.layer = shape.heads, shape.layer

    def __call__(
        self,
        q: Float[Array, "batch length heads head_dim"],
        k: Float[Array, "batch length heads head_dim"],
        v: Float[Array, "batch length heads head_dim"],
        mask: Bool[Array, "batch length"],
        dropout: Dropout = NO_DROPOUT,
    ) -> Float[Array, "batch length heads head_dim"]:
        queries, keys, values, real = (into_blocks(x, self.block) for x in (q, k, v, mask))
        batch, blocks = real.shape[:2]
        last = jnp.max(jnp.where(real.any(2), jnp.arange(blocks), 0), 1)
        ends = jnp.stack([jnp.zeros_like(last), last], 1)
        row = jnp.arange(batch)[:, None]

        # the first and the last block: all queries see their keys, and their queries see all keys
        flat = lambda x: x[row, ends].reshape(batch, -1, *x.shape[3:])
        twice = (last == 0)[:, None] & (jnp.arange(2 * self.block) >= self.block)
        ends_real = (flat(real) & ~twice)[..., None]
        to_ends = attend(q, flat(keys), flat(values), mask=ends_real, dropout=dropout.fold_in(0))
        of_ends = attend(flat(queries), k, v, mask=mask[..., None], dropout=dropout.fold_in(1), lse=False)[0]

        # a block and its two neighbours, without the first and the last block
        is_end = (jnp.arange(blocks) == ends[..., None]).any(1)[..., None]
        inner = from_blocks(real & ~is_end, q.shape[1])[..., None]
        near = Blocks(self.block, tuple(tuple(range(max(i - 1, 0), min(i + 2, blocks))) for i in range(blocks)))
        window = attend(q, k, v, mask=inner, pattern=near, dropout=dropout.fold_in(2))

        # random blocks, different ones in each head
        index = self.random_blocks(blocks, last)
        row, head = row[..., None, None], jnp.arange(self.heads)[:, None]

        def gather(x: Array) -> Array:  # [batch, blocks, random * block, heads, head_dim]
            x = jnp.moveaxis(x[row, index, :, head], 2, 4)
            return x.reshape(batch, blocks, self.random * self.block, *x.shape[4:])

        drawn = real[row, index] & (index > 0)[..., None]
        drawn = drawn.reshape(batch, blocks, self.heads, self.random * self.block).swapaxes(2, 3)
        out, lse = attend(queries, gather(keys), gather(values), mask=drawn, dropout=dropout.fold_in(3))
        others = from_blocks(out, q.shape[1]), from_blocks(lse, q.shape[1])

        out = into_blocks(merge([to_ends, window, others]), self.block)
        first, final = jnp.split(of_ends[:, None], 2, 2)
        at = jnp.arange(blocks)[None, :, None, None, None]
        out = jnp.where(at == 0, first, jnp.where(at == ends[:, 1, None, None, None, None], final, out))
        return from_blocks(out, q.shape[1])

    def random_blocks(self, blocks: int, last: Int[Array, " batch"]) -> Int[Array, "batch blocks heads random"]:
        """The random blocks that each block sees in each head. An entry is 0 where no block is left.

        The method is Robert Floyd's (Bentley and Floyd 1987, "A sample of brilliance"). The k-th draw from m blocks
        picks one of the first m - random + k + 1 blocks at random. If that block is taken already, it picks the last of
        these blocks.
        """
        # NumPy promises never to change the raw stream; a longer sequence reads more of it
        raw = np.random.PCG64((self.seed, self.layer)).random_raw(blocks * self.heads * self.random)
        draws = (raw >> np.uint64(33)).astype(np.int32).reshape(blocks, self.heads, self.random)
        own, last = jnp.arange(blocks)[:, None], last[:, None, None]
        before = jnp.maximum(own - 2, 0)
        # all candidates: those between the first block and the window, and those from there to the last block
        left = jnp.broadcast_to(before + jnp.maximum(last - 2 - own, 0), (len(last), blocks, self.heads))
        sample = jnp.full((*left.shape, self.random), -1)
        for k in range(self.random):
            top = left - self.random + k
            pick = draws[..., k] % (jnp.maximum(top, 0) + 1)
            taken = (sample == pick[..., None]).any(-1)
            sample = sample.at[..., k].set(jnp.where(top < 0, -1, jnp.where(taken, top, pick)))
        before, own = before[..., None], own[..., None]
        return jnp.where(sample < 0, 0, sample + jnp.where(sample < before, 1, 2 + own - before))

    def reach(self, length: int) -> Bool[np.ndarray, "length length"]:
        blocks = -(-length // self.block)
        i, j = np.arange(blocks)[:, None], np.arange(blocks)
        seen = (np.abs(i - j) <= 1) | np.isin(i, (0, blocks - 1)) | np.isin(j, (0, blocks - 1))
        chosen = np.asarray(self.random_blocks(blocks, jnp.array([blocks - 1])))[0]
        seen |= (chosen[..., None] == j).any((1, 2))
        return seen.repeat(self.block, 0).repeat(self.block, 1)[:length, :length]
