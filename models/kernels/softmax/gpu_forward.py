"""The forward kernel on Hopper, which computes the softmax tile by tile (Shah et al. 2024, FlashAttention-3,
2407.08608).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array, Float

from lra.models.kernels.mosaic_gpu import rows
from lra.models.kernels.softmax.gpu_block import FLOOR, ROW, Block, Inputs, Setting, keys_in_rings, launch, shared
from lra.models.kernels.softmax.gpu_walk import ROWS, Walk


def attend(
    x: Inputs, walk: Walk, setting: Setting
) -> tuple[Float[Array, "batch queries heads value_dim"], Float[Array, "batch heads queries"]]:
    """The output and, of each query, the logarithm of the softmax's denominator: -inf if it sees no key."""
    batch, queries, heads, head_dim = x.q.shape
    value_dim, dtype = x.v.shape[-1], x.q.dtype
    size, to_log2 = setting.size, setting.scale * math.log2(math.e)

    def attention_forward(x, walk, out, lse, *, q, k, v, mask, buffer, q_ready, ready, free):  # type: ignore[no-untyped-def]
        block = Block(setting, x, walk, ready, free)
        r, tile, group = block.registers, block.tile, block.place

        def step(t: Any, slot: Any, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            top, total, acc = carry
            s = block.logits(t, q.at[group], k.at[slot], None if mask is None else mask.at[slot])
            higher = jnp.maximum(top, s.max(axis=1) * to_log2)
            p = jnp.exp2(s * to_log2 - rows(higher, tile))
            shrink = jnp.exp2(top - higher)
            total = total * shrink + p.sum(axis=1)
            if x.seeds is not None:
                p = jnp.where(block.kept(t), p, 0)
            acc = r.dot(p.astype(dtype), v.at[slot], acc.shape, acc * rows(shrink, acc.shape))
            return higher, total, acc

        def compute() -> None:
            plgpu.copy_gmem_to_smem(block.tokens(x.q, block.rows), q.at[group], q_ready.at[group])
            plgpu.barrier_wait(q_ready.at[group])
            nothing = r.full((ROWS,), FLOOR, ROW), r.full((ROWS,), 0, ROW), r.full((ROWS, value_dim), 0)
            top, total, acc = block.over_tiles(step, nothing)
            share = jnp.where(total > 0, 1 / (total * (1 - setting.rate)), 0)
            block.store(acc * rows(share, acc.shape), q if buffer is None else buffer, out)
            log = jnp.where(total > 0, top * math.log(2) + jnp.log(total), -jnp.inf)
            lse[block.example, block.head, block.rows] = log

        block.run(block.copy_keys(k, v, mask), compute)

    scratch = dict(
        q=shared(size, size.groups, ROWS, head_dim, dtype),
        buffer=None if value_dim == head_dim else shared(size, size.groups, ROWS, value_dim, dtype),
        q_ready=plgpu.Barrier(num_barriers=size.groups),
        **keys_in_rings(x, size),
    )
    out = jax.ShapeDtypeStruct((batch, queries, heads, value_dim), dtype)
    lse = jax.ShapeDtypeStruct((batch, heads, queries), jnp.float32)
    return launch(attention_forward, setting, x.q, (out, lse), scratch, (x, walk))
