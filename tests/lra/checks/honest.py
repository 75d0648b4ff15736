"""Small variants without a defect that look, from afar, as if they had one."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from .defects import Whole, blocks, softmax
from .lengths import kernelised

HONEST = {}


def honest(target):
    HONEST[target.__name__] = target
    return target


@honest
class a_decay_that_fades_out(Whole):
    """From 200 tokens away, float32 sees nothing."""

    def __call__(self, x, mask):
        h = jnp.where(mask[..., None], self.into(x), 0).astype(jnp.float32)
        combine = lambda a, b: (a[0] * b[0], a[1] * b[0] + b[1])
        decay = jnp.full_like(h, 0.9)
        both = [jax.lax.associative_scan(combine, (decay, h), axis=1, reverse=way)[1] for way in (False, True)]
        return self.out(sum(both).astype(x.dtype))


@honest
def a_block_chosen_by_its_content(q, k, v, mask, block: int = 64):
    """A query sees one block of keys, that with the best mean key for it. Permuted blocks give permuted outputs."""
    real = mask[..., None, None]
    keys, values, seen = (blocks(x, block) for x in (jnp.where(real, k, 0), jnp.where(real, v, 0), mask))
    score = jnp.einsum("bqhd,bnhd->bhqn", q, keys.sum(2))
    best = jnp.where(seen.any(2)[:, None, None], score, -1e30).argmax(-1)
    row, head = jnp.arange(len(q))[:, None, None], jnp.arange(q.shape[2])[None, :, None]
    picked = lambda x: x[row, best, :, head]
    logits = jnp.einsum("bqhd,bhqkd->bhqk", q, picked(keys))
    weights = jax.nn.softmax(jnp.where(seen[row, best], logits, -1e30))
    return jnp.einsum("bhqk,bhqkd->bqhd", weights.astype(v.dtype), picked(values))


@honest
def blocks_that_are_bags(q, k, v, mask, block: int = 50):
    """A token sees the mean of its block, and all tokens: in a block, order counts for nothing."""
    values, real = blocks(jnp.where(mask[..., None, None], v, 0), block), blocks(mask, block)[..., None, None]
    mean = values.sum(2, keepdims=True) / jnp.maximum(real.sum(2, keepdims=True), 1).astype(v.dtype)
    spread = jnp.broadcast_to(mean, values.shape).reshape(len(v), -1, *v.shape[2:])[:, : v.shape[1]]
    return kernelised(q, k, v, mask) + spread


@honest
class a_rotation_by_large_angles(Whole):
    """The angle of a token is rounded in float32, to a thousandth at 16,000 tokens."""

    def __call__(self, x, mask):
        h = self.into(x)
        first, second = np.split(np.arange(h.shape[-1]), 2)
        angle = jnp.arange(x.shape[1], dtype=jnp.result_type(float))[:, None] * 10_000.0 ** -(first / len(first))
        cos, sin = jnp.cos(angle).astype(x.dtype), jnp.sin(angle).astype(x.dtype)
        a, b = h[..., first], h[..., second]
        turned = jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)[:, :, None]
        return self.out(kernelised(turned, turned, h[:, :, None], mask)[:, :, 0])


@honest
class a_table_with_a_row_too_many(Whole):
    def __init__(self, shape, *, rngs):
        super().__init__(shape, rngs=rngs)
        self.table = nnx.Param(jnp.zeros((shape.max_length + 1, shape.qkv_dim)))

    def __call__(self, x, mask):
        self.shape.admit(x.shape[1], "a_table_with_a_row_too_many")
        h = (self.into(x) + self.table.get_value()[: x.shape[1]].astype(x.dtype))[:, :, None]
        return self.out(kernelised(h, h, h, mask)[:, :, 0])


@honest
class blocks_wider_than_the_near_row(nnx.Module):
    """With 24 tokens it is plain attention, which reads no positions."""

    def __init__(self, shape, *, width: int = 100, rngs):
        self.width = width

    def __call__(self, q, k, v, mask):
        fold = lambda x: blocks(x, self.width).reshape(-1, self.width, *x.shape[2:])
        out = softmax(*map(fold, (q, k, v, mask)))
        return out.reshape(q.shape[0], -1, *q.shape[2:])[:, : q.shape[1]]

    def reach(self, length):
        block = np.arange(length) // self.width
        return block[:, None] == block
