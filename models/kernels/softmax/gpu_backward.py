"""The backward kernels on Hopper, one for dq and one for dk and dv, each of which computes the probabilities again.

With p the probabilities and delta the sum of out * d_out (minus d_lse): d_logits = p (d_out v^T - delta), as in
FlashAttention-2 (Dao 2023, 2307.08691).
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array, Float

from lra.models.kernels.mosaic_gpu import columns, rows
from lra.models.kernels.softmax.gpu_block import (
    COLUMN,
    ROW,
    Block,
    Inputs,
    Setting,
    keys_in_rings,
    launch,
    ring,
    shared,
)
from lra.models.kernels.softmax.gpu_walk import ROWS, Walk

COLUMNS = 128  # columns of dk and of dv for which a warpgroup has registers


class Given(NamedTuple):
    """What the gradients are computed from. For padded queries all of it is 0."""

    lse: Float[Array, "batch heads queries"]  # in base 2
    delta: Float[Array, "batch heads queries"]
    d_out: Float[Array, "batch queries heads value_dim"]


def gradient_of_queries(
    x: Inputs, walk: Walk, given: Given, setting: Setting
) -> Float[Array, "batch queries heads head_dim"]:
    head_dim, value_dim, dtype = x.q.shape[-1], x.v.shape[-1], x.q.dtype
    size, to_log2 = setting.size, setting.scale * math.log2(math.e)

    def attention_dq(x, walk, given, d_q, *, q, d_out, k, v, mask, loaded, ready, free):  # type: ignore[no-untyped-def]
        block = Block(setting, x, walk, ready, free)
        r, tile, group = block.registers, block.tile, block.place

        def compute() -> None:
            plgpu.copy_gmem_to_smem(block.tokens(x.q, block.rows), q.at[group], loaded.at[group])
            plgpu.copy_gmem_to_smem(block.tokens(given.d_out, block.rows), d_out.at[group], loaded.at[group])
            lse = r.load(block.of_head(given.lse, block.rows), ROW, optimized=False)
            delta = r.load(block.of_head(given.delta, block.rows), ROW, optimized=False)
            plgpu.barrier_wait(loaded.at[group])

            def step(t: Any, slot: Any, acc: jax.Array) -> jax.Array:
                s = block.logits(t, q.at[group], k.at[slot], None if mask is None else mask.at[slot])
                p = jnp.exp2(s * to_log2 - rows(lse, tile))
                d_p = r.dot(d_out.at[group], v.at[slot], tile, b_t=True)
                if x.seeds is not None:
                    d_p = jnp.where(block.kept(t), d_p * (1 / (1 - setting.rate)), 0)
                d_s = p * (d_p - rows(delta, tile))
                return r.dot(d_s.astype(dtype), k.at[slot], acc.shape, acc)

            acc = block.over_tiles(step, r.full((ROWS, head_dim), 0))
            block.store(acc * setting.scale, q, d_q)

        block.run(block.copy_keys(k, v, mask), compute)

    scratch = dict(
        q=shared(size, size.groups, ROWS, head_dim, dtype),
        d_out=shared(size, size.groups, ROWS, value_dim, dtype),
        loaded=plgpu.Barrier(num_arrivals=2, num_barriers=size.groups),
        **keys_in_rings(x, size),
    )
    return launch(attention_dq, setting, x.q, jax.ShapeDtypeStruct(x.q.shape, dtype), scratch, (x, walk, given))


def gradients_of_keys(
    x: Inputs, walk: Walk, given: Given, setting: Setting
) -> tuple[Float[Array, "batch keys heads head_dim"], Float[Array, "batch keys heads value_dim"]]:
    """dk and dv. Logits, `walk` and `x.allowed` are transposed: a warpgroup has 64 keys, and the queries go by."""
    starts = range(0, max(x.k.shape[-1], x.v.shape[-1]), COLUMNS)
    pieces = [some_columns(x, walk, given, setting, start) for start in starts]
    d_k, d_v = (jnp.concatenate([piece[name] for piece in pieces if name in piece], -1) for name in "kv")
    return d_k, d_v


def some_columns(
    x: Inputs, walk: Walk, given: Given, setting: Setting, start: int
) -> dict[str, Float[Array, "batch keys heads columns"]]:
    """The columns of dk, under the name "k", and of dv, under "v", from `start` on: at most COLUMNS of each."""
    batch, keys, heads, head_dim = x.k.shape
    value_dim, dtype = x.v.shape[-1], x.q.dtype
    size, to_log2 = setting.size, setting.scale * math.log2(math.e)
    left = dict(k=head_dim - start, v=value_dim - start)
    widths = {name: min(n, COLUMNS) for name, n in left.items() if n > 0}

    def attention_dk_dv(x, walk, given, *outs, k, v, q, d_out, lse, delta, buffers, loaded, ready, free):  # type: ignore[no-untyped-def]
        block = Block(setting, x, walk, ready, free)
        r, tile, group = block.registers, block.tile, block.place

        def copy(queries: Any, slot: Any, barrier: Any) -> None:
            plgpu.copy_gmem_to_smem(block.tokens(x.q, queries), q.at[slot], barrier)
            plgpu.copy_gmem_to_smem(block.tokens(given.d_out, queries), d_out.at[slot], barrier)
            plgpu.copy_gmem_to_smem(block.of_head(given.lse, queries), lse.at[slot], barrier)
            plgpu.copy_gmem_to_smem(block.of_head(given.delta, queries), delta.at[slot], barrier)

        def compute() -> None:
            plgpu.copy_gmem_to_smem(block.tokens(x.k, block.rows), k.at[group], loaded.at[group])
            plgpu.copy_gmem_to_smem(block.tokens(x.v, block.rows), v.at[group], loaded.at[group])
            if x.mask is not None:
                mask = r.load(block.of_head(x.mask, block.rows), ROW, optimized=False)
            plgpu.barrier_wait(loaded.at[group])

            def step(t: Any, slot: Any, sums: dict[str, jax.Array]) -> dict[str, jax.Array]:
                s = r.dot(k.at[group], q.at[slot], tile, b_t=True)
                if x.mask is not None:
                    s = s + rows(mask, tile)
                p = jnp.exp2(block.seen(t, s) * to_log2 - columns(r.load(lse.at[slot], COLUMN), tile))
                if x.seeds is not None:
                    signed = jnp.where(block.kept(t, queries=1), p, -p)  # one matrix in registers, not two
                    p = jnp.abs(signed)

                def dropped(y: jax.Array) -> jax.Array:
                    return y if x.seeds is None else jnp.where(signed > 0, y * (1 / (1 - setting.rate)), 0)

                def add(name: str, a: jax.Array, b: Any) -> jax.Array:
                    part = b.at[slot, :, pl.ds(start, widths[name])]
                    return r.dot(a.astype(dtype), part, sums[name].shape, sums[name])

                new = {}
                if "v" in sums:
                    new["v"] = add("v", dropped(p), d_out)
                if "k" in sums:
                    d_p = dropped(r.dot(v.at[group], d_out.at[slot], tile, b_t=True))
                    d_s = p * (d_p - columns(r.load(delta.at[slot], COLUMN), tile))
                    new["k"] = add("k", d_s, q)
                return new

            sums = block.over_tiles(step, {name: r.full((ROWS, n), 0) for name, n in widths.items()})
            for name, out in zip(widths, outs):
                block.store(sums[name] * setting.scale if name == "k" else sums[name], buffers[name], out)

        block.run(copy, compute)

    scratch = dict(
        k=shared(size, size.groups, ROWS, head_dim, dtype),
        v=shared(size, size.groups, ROWS, value_dim, dtype),
        q=shared(size, size.steps, size.across, head_dim, dtype),
        d_out=shared(size, size.steps, size.across, value_dim, dtype),
        lse=plgpu.SMEM((size.steps, size.across), jnp.float32),
        delta=plgpu.SMEM((size.steps, size.across), jnp.float32),
        buffers={name: shared(size, size.groups, ROWS, n, dtype) for name, n in widths.items()},
        loaded=plgpu.Barrier(num_arrivals=2, num_barriers=size.groups),
        **ring(size, 4),
    )
    outs = tuple(jax.ShapeDtypeStruct((batch, keys, heads, n), dtype) for n in widths.values())
    return dict(zip(widths, launch(attention_dk_dv, setting, x.k, outs, scratch, (x, walk, given))))
