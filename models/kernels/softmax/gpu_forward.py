"""The forward pass on Hopper: softmax on the way, as FlashAttention-3 (Shah et al. 2024, 2407.08608)."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array, Float, Int

from lra.models.kernels.mosaic_gpu import LAYOUT, Registers, columns, rows
from lra.models.kernels.softmax.dropout import kept
from lra.models.kernels.softmax.gpu_tiles import FLOOR, ROWS, Walk, feed, hide, launch, tile_memory


class Inputs(NamedTuple):
    """Lengths are multiples of the tile, widths of what tensor cores take."""

    q: Float[Array, "batch queries heads head_dim"]
    k: Float[Array, "batch keys heads head_dim"]
    v: Float[Array, "batch keys heads value_dim"]
    walk: Walk
    mask: Float[Array, "batch #heads keys"] | None  # added to the logits: 0, or HIDDEN
    allowed: Int[Array, "batch #heads queries keys"] | None  # int8
    seeds: Int[Array, "batch heads"] | None


def forward_kernel(
    x: Inputs, scale: float, rate: float, groups: int, block_k: int, steps: int, interpret: bool
) -> tuple[Float[Array, "batch queries heads value_dim"], Float[Array, "batch heads queries"]]:
    """Each of `groups` warpgroups has 64 queries; key tiles of `block_k` go through a ring of `steps`."""
    batch, queries, heads, head_dim = x.q.shape
    value_dim, dtype = x.v.shape[-1], x.q.dtype
    block_q, tile = groups * ROWS, (ROWS, block_k)
    to_log2 = scale * math.log2(math.e)
    r = Registers(interpret)

    def attention_forward(  # type: ignore[no-untyped-def]
        x: Inputs, out, lse, *, q_smem, k_smem, v_smem, mask_smem, q_ready, ready, free
    ) -> None:
        b, h, line, group = (lax.axis_index(name) for name in ("batch", "head", "line", "group"))
        count = x.walk.counts[b, line]

        @pl.when(group == groups)
        def _() -> None:
            if groups == 2:
                plgpu.set_max_registers(40, action="decrease")

            def copy(t: Any, slot: Any, barrier: Any) -> None:
                keys = pl.ds(x.walk.tile(line, t) * block_k, block_k)
                plgpu.copy_gmem_to_smem(x.k.at[b, keys, h], k_smem.at[slot], barrier)
                plgpu.copy_gmem_to_smem(x.v.at[b, keys, h], v_smem.at[slot], barrier)
                if x.mask is not None:
                    plgpu.copy_gmem_to_smem(x.mask.at[b, of(x.mask, h), keys], mask_smem.at[slot], barrier)

            feed(count, steps, ready, free, copy)

        @pl.when(group < groups)
        def _() -> None:
            if groups == 2:
                plgpu.set_max_registers(232, action="increase")
            start = line * block_q + group * ROWS
            here = pl.ds(start, ROWS)
            plgpu.copy_gmem_to_smem(x.q.at[b, here, h], q_smem.at[group], q_ready.at[group])
            plgpu.barrier_wait(q_ready.at[group])

            def step(t: Any, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
                top, total, acc = carry
                slot = lax.rem(t, jnp.int32(steps))
                first = x.walk.tile(line, t) * block_k
                plgpu.barrier_wait(ready.at[slot])
                s = r.dot(q_smem.at[group], k_smem.at[slot], tile, b_t=True)
                if x.mask is not None:
                    s = s + columns(r.load(mask_smem.at[slot], LAYOUT.reduce(0)), tile)
                pairs = None if x.allowed is None else x.allowed.at[b, of(x.allowed, h), here, pl.ds(first, block_k)]
                s = hide(r, s, x.walk, line, t, pl.ds(group * ROWS, ROWS), pairs)
                higher = jnp.maximum(top, s.max(axis=1) * to_log2)
                p = jnp.exp2(s * to_log2 - rows(higher, tile))
                shrink = jnp.exp2(top - higher)
                total = total * shrink + p.sum(axis=1)
                if x.seeds is not None:
                    p = jnp.where(kept(x.seeds[b, h], r.iota(tile, 0) + start, r.iota(tile, 1) + first, rate), p, 0)
                acc = r.dot(p.astype(dtype), v_smem.at[slot], acc.shape, acc * rows(shrink, acc.shape))
                plgpu.barrier_arrive(free.at[slot])
                return higher, total, acc

            row = LAYOUT.reduce(1)
            top, total, acc = lax.fori_loop(
                0, count, step,
                (r.full((ROWS,), FLOOR, row), r.full((ROWS,), 0, row), r.full((ROWS, value_dim), 0)),
            )  # fmt: skip
            share = jnp.where(total > 0, 1 / (total * (1 - rate)), 0)
            out[b, here, h] = (acc * rows(share, acc.shape)).astype(dtype)
            lse[b, h, here] = jnp.where(total > 0, top * math.log(2) + jnp.log(total), -jnp.inf)

    barriers = dict(
        q_ready=plgpu.Barrier(num_barriers=groups),
        ready=plgpu.Barrier(num_arrivals=2 if x.mask is None else 3, num_barriers=steps),
        free=plgpu.Barrier(num_arrivals=groups, num_barriers=steps),
    )
    memory = dict(
        q_smem=tile_memory((groups, ROWS, head_dim), dtype, block_k),
        k_smem=tile_memory((steps, block_k, head_dim), dtype, block_k),
        v_smem=tile_memory((steps, block_k, value_dim), dtype, block_k),
        mask_smem=None if x.mask is None else plgpu.SMEM((steps, block_k), jnp.float32),
    )
    out = jax.ShapeDtypeStruct((batch, queries, heads, value_dim), dtype)
    lse = jax.ShapeDtypeStruct((batch, heads, queries), jnp.float32)
    grid = dict(batch=batch, head=heads, line=queries // block_q)
    return launch(attention_forward, interpret, grid, groups, (out, lse), memory | barriers, x)


def of(pairs: Any, head: Any) -> Any:
    """The head's index into what all heads may share."""
    return head if pairs.shape[1] > 1 else 0
