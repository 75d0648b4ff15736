"""The backward pass on Hopper: one kernel for dq, one for dk and dv, each recomputing the probabilities."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array, Float

from lra.models.kernels.mosaic_gpu import LAYOUT, Registers, columns, rows
from lra.models.kernels.softmax.dropout import kept
from lra.models.kernels.softmax.gpu_forward import Inputs, of
from lra.models.kernels.softmax.gpu_tiles import ROWS, feed, hide, launch, tile_memory

STEPS = 2
COLUMNS = 128  # of dk and of dv that a warpgroup has registers for


class Cotangents(NamedTuple):
    """Of padded queries all are 0."""

    lse: Float[Array, "batch heads queries"]  # in base 2
    delta: Float[Array, "batch heads queries"]
    d_out: Float[Array, "batch queries heads value_dim"]


def dq_kernel(
    x: Inputs, given: Cotangents, *, scale: float, rate: float, groups: int, across: int, interpret: bool
) -> Float[Array, "batch queries heads head_dim"]:
    batch, queries, heads, head_dim = x.q.shape
    value_dim, dtype, tile = x.v.shape[-1], x.q.dtype, (ROWS, across)
    to_log2 = scale * math.log2(math.e)
    r = Registers(interpret)

    def attention_dq(operands, d_q, *, q_smem, k_smem, v_smem, mask_smem, d_out_smem, here_ready, ready, free) -> None:  # type: ignore[no-untyped-def]
        x, given = operands
        b, h, line, group = (lax.axis_index(name) for name in ("batch", "head", "line", "group"))
        count = x.walk.counts[b, line]

        @pl.when(group == groups)
        def _() -> None:
            if groups == 2:
                plgpu.set_max_registers(40, action="decrease")

            def copy(t: Any, slot: Any, barrier: Any) -> None:
                keys = pl.ds(x.walk.tile(line, t) * across, across)
                plgpu.copy_gmem_to_smem(x.k.at[b, keys, h], k_smem.at[slot], barrier)
                plgpu.copy_gmem_to_smem(x.v.at[b, keys, h], v_smem.at[slot], barrier)
                if x.mask is not None:
                    plgpu.copy_gmem_to_smem(x.mask.at[b, of(x.mask, h), keys], mask_smem.at[slot], barrier)

            feed(count, STEPS, ready, free, copy)

        @pl.when(group < groups)
        def _() -> None:
            if groups == 2:
                plgpu.set_max_registers(232, action="increase")
            start = (line * groups + group) * ROWS
            here = pl.ds(start, ROWS)
            plgpu.copy_gmem_to_smem(x.q.at[b, here, h], q_smem.at[group], here_ready.at[group])
            plgpu.copy_gmem_to_smem(given.d_out.at[b, here, h], d_out_smem.at[group], here_ready.at[group])
            lse = r.load(given.lse.at[b, h, here], LAYOUT.reduce(1), optimized=False)
            delta = r.load(given.delta.at[b, h, here], LAYOUT.reduce(1), optimized=False)
            plgpu.barrier_wait(here_ready.at[group])

            def step(t: Any, acc: jax.Array) -> jax.Array:
                slot = lax.rem(t, jnp.int32(STEPS))
                first = x.walk.tile(line, t) * across
                plgpu.barrier_wait(ready.at[slot])
                s = r.dot(q_smem.at[group], k_smem.at[slot], tile, b_t=True)
                if x.mask is not None:
                    s = s + columns(r.load(mask_smem.at[slot], LAYOUT.reduce(0)), tile)
                pairs = None if x.allowed is None else x.allowed.at[b, of(x.allowed, h), here, pl.ds(first, across)]
                s = hide(r, s, x.walk, line, t, pl.ds(group * ROWS, ROWS), pairs)
                p = jnp.exp2(s * to_log2 - rows(lse, tile))
                d_p = r.dot(d_out_smem.at[group], v_smem.at[slot], tile, b_t=True)
                if x.seeds is not None:
                    keep = kept(x.seeds[b, h], r.iota(tile, 0) + start, r.iota(tile, 1) + first, rate)
                    d_p = jnp.where(keep, d_p / (1 - rate), 0)
                d_s = p * (d_p - rows(delta, tile))
                acc = r.dot(d_s.astype(dtype), k_smem.at[slot], acc.shape, acc)
                plgpu.barrier_arrive(free.at[slot])
                return acc

            acc = lax.fori_loop(0, count, step, r.full((ROWS, head_dim), 0))
            d_q[b, here, h] = (acc * scale).astype(dtype)

    scratch = dict(
        q_smem=tile_memory((groups, ROWS, head_dim), dtype, across),
        d_out_smem=tile_memory((groups, ROWS, value_dim), dtype, across),
        k_smem=tile_memory((STEPS, across, head_dim), dtype, across),
        v_smem=tile_memory((STEPS, across, value_dim), dtype, across),
        mask_smem=None if x.mask is None else plgpu.SMEM((STEPS, across), jnp.float32),
        here_ready=plgpu.Barrier(num_arrivals=2, num_barriers=groups),
        ready=plgpu.Barrier(num_arrivals=2 if x.mask is None else 3, num_barriers=STEPS),
        free=plgpu.Barrier(num_arrivals=groups, num_barriers=STEPS),
    )
    grid = dict(batch=batch, head=heads, line=queries // (groups * ROWS))
    return launch(attention_dq, interpret, grid, groups, jax.ShapeDtypeStruct(x.q.shape, dtype), scratch, (x, given))


def dk_dv_kernel(
    x: Inputs, given: Cotangents, *, scale: float, rate: float, groups: int, across: int, interpret: bool
) -> tuple[Float[Array, "batch keys heads head_dim"], Float[Array, "batch keys heads value_dim"]]:
    """`x.walk` and `x.allowed` are transposed: a warpgroup has 64 keys, and the queries go by."""
    run = partial(dk_dv_columns, x, given, scale, rate, groups, across, interpret)
    pieces = [run(first) for first in range(0, max(x.k.shape[-1], x.v.shape[-1]), COLUMNS)]
    d_k, d_v = (jnp.concatenate([p[n] for p in pieces if n in p], -1) for n in "kv")
    return d_k, d_v


def dk_dv_columns(
    x: Inputs,
    given: Cotangents,
    scale: float,
    rate: float,
    groups: int,
    across: int,
    interpret: bool,
    first_column: int,
) -> dict[str, Float[Array, "batch keys heads columns"]]:
    """At most COLUMNS of dk, "k", and dv, "v"."""
    batch, keys, heads, head_dim = x.k.shape
    value_dim, dtype, tile = x.v.shape[-1], x.q.dtype, (ROWS, across)
    to_log2 = scale * math.log2(math.e)
    r = Registers(interpret)

    rest = dict(k=head_dim - first_column, v=value_dim - first_column)
    dims = {name: min(n, COLUMNS) for name, n in rest.items() if n > 0}
    part = {name: (slice(None), pl.ds(first_column, n)) for name, n in dims.items()}

    def attention_dk_dv(
        operands, *refs, k_smem, v_smem, q_smem, d_out_smem, lse_smem, delta_smem, here_ready, ready, free
    ) -> None:  # type: ignore[no-untyped-def]
        (x, given), outs = operands, dict(zip(dims, refs))
        b, h, line, group = (lax.axis_index(name) for name in ("batch", "head", "line", "group"))
        count = x.walk.counts[b, line]

        @pl.when(group == groups)
        def _() -> None:
            if groups == 2:
                plgpu.set_max_registers(40, action="decrease")

            def copy(t: Any, slot: Any, barrier: Any) -> None:
                queries = pl.ds(x.walk.tile(line, t) * across, across)
                plgpu.copy_gmem_to_smem(x.q.at[b, queries, h], q_smem.at[slot], barrier)
                plgpu.copy_gmem_to_smem(given.d_out.at[b, queries, h], d_out_smem.at[slot], barrier)
                plgpu.copy_gmem_to_smem(given.lse.at[b, h, queries], lse_smem.at[slot], barrier)
                plgpu.copy_gmem_to_smem(given.delta.at[b, h, queries], delta_smem.at[slot], barrier)

            feed(count, STEPS, ready, free, copy)

        @pl.when(group < groups)
        def _() -> None:
            if groups == 2:
                plgpu.set_max_registers(232, action="increase")
            start = (line * groups + group) * ROWS
            here = pl.ds(start, ROWS)
            plgpu.copy_gmem_to_smem(x.k.at[b, here, h], k_smem.at[group], here_ready.at[group])
            plgpu.copy_gmem_to_smem(x.v.at[b, here, h], v_smem.at[group], here_ready.at[group])
            mask = None
            if x.mask is not None:
                mask = r.load(x.mask.at[b, of(x.mask, h), here], LAYOUT.reduce(1), optimized=False)
            plgpu.barrier_wait(here_ready.at[group])

            def step(t: Any, sums: dict[str, jax.Array]) -> dict[str, jax.Array]:
                slot = lax.rem(t, jnp.int32(STEPS))
                first = x.walk.tile(line, t) * across
                plgpu.barrier_wait(ready.at[slot])
                s = r.dot(k_smem.at[group], q_smem.at[slot], tile, b_t=True)
                if mask is not None:
                    s = s + rows(mask, tile)
                pairs = None if x.allowed is None else x.allowed.at[b, of(x.allowed, h), here, pl.ds(first, across)]
                s = hide(r, s, x.walk, line, t, pl.ds(group * ROWS, ROWS), pairs)
                p = jnp.exp2(s * to_log2 - columns(r.load(lse_smem.at[slot], LAYOUT.reduce(0)), tile))
                drop = lambda x: x
                if x.seeds is not None:
                    keep = kept(x.seeds[b, h], r.iota(tile, 1) + first, r.iota(tile, 0) + start, rate)
                    p = jnp.where(keep, p, -p)  # the sign remembers it: registers are short
                    kept_p, p = p, jnp.abs(p)
                    drop = lambda x: jnp.where(kept_p > 0, x / (1 - rate), 0)
                sums = dict(sums)
                if "v" in sums:
                    d_out = d_out_smem.at[slot, *part["v"]]
                    sums["v"] = r.dot(drop(p).astype(dtype), d_out, sums["v"].shape, sums["v"])
                if "k" in sums:
                    d_p = drop(r.dot(v_smem.at[group], d_out_smem.at[slot], tile, b_t=True))
                    d_s = p * (d_p - columns(r.load(delta_smem.at[slot], LAYOUT.reduce(0)), tile))
                    q = q_smem.at[slot, *part["k"]]
                    sums["k"] = r.dot(d_s.astype(dtype), q, sums["k"].shape, sums["k"])
                plgpu.barrier_arrive(free.at[slot])
                return sums

            sums = lax.fori_loop(0, count, step, {name: r.full((ROWS, n), 0) for name, n in dims.items()})
            if "k" in sums:
                outs["k"][b, here, h] = (sums["k"] * scale).astype(dtype)
            if "v" in sums:
                outs["v"][b, here, h] = sums["v"].astype(dtype)

    scratch = dict(
        k_smem=tile_memory((groups, ROWS, head_dim), dtype, across),
        v_smem=tile_memory((groups, ROWS, value_dim), dtype, across),
        q_smem=tile_memory((STEPS, across, head_dim), dtype, across),
        d_out_smem=tile_memory((STEPS, across, value_dim), dtype, across),
        lse_smem=plgpu.SMEM((STEPS, across), jnp.float32),
        delta_smem=plgpu.SMEM((STEPS, across), jnp.float32),
        here_ready=plgpu.Barrier(num_arrivals=2, num_barriers=groups),
        ready=plgpu.Barrier(num_arrivals=4, num_barriers=STEPS),
        free=plgpu.Barrier(num_arrivals=groups, num_barriers=STEPS),
    )
    outs = tuple(jax.ShapeDtypeStruct((batch, keys, heads, n), dtype) for n in dims.values())
    grid = dict(batch=batch, head=heads, line=keys // (groups * ROWS))
    return dict(zip(dims, launch(attention_dk_dv, interpret, grid, groups, outs, scratch, (x, given))))
