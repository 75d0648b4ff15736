"""The backward pass on Hopper: one kernel for dq, one for dk and dv, each recomputing the probabilities."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array, Float

from lra.models.kernels.mosaic_gpu import LAYOUT, Registers, columns, rows, swizzled
from lra.models.kernels.softmax.dropout import kept
from lra.models.kernels.softmax.gpu_forward import Inputs, of
from lra.models.kernels.softmax.gpu_tiles import ROWS, feed, hide, launch

STEPS = 2


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

    def body(operands, d_q, *, q_smem, k_smem, v_smem, mask_smem, d_out_smem, here_ready, ready, free) -> None:  # type: ignore[no-untyped-def]
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
            q_smem.at[group][...] = (acc * scale).astype(dtype)
            plgpu.commit_smem()
            plgpu.copy_smem_to_gmem(q_smem.at[group], d_q.at[b, here, h])
            plgpu.wait_smem_to_gmem(0)

    scratch = dict(
        q_smem=swizzled((groups, ROWS, head_dim), dtype),
        d_out_smem=swizzled((groups, ROWS, value_dim), dtype),
        k_smem=swizzled((STEPS, across, head_dim), dtype),
        v_smem=swizzled((STEPS, across, value_dim), dtype),
        mask_smem=None if x.mask is None else plgpu.SMEM((STEPS, across), jnp.float32),
        here_ready=plgpu.Barrier(num_arrivals=2, num_barriers=groups),
        ready=plgpu.Barrier(num_arrivals=2 if x.mask is None else 3, num_barriers=STEPS),
        free=plgpu.Barrier(num_arrivals=groups, num_barriers=STEPS),
    )
    grid = dict(batch=batch, head=heads, line=queries // (groups * ROWS))
    return launch(body, interpret, grid, groups, jax.ShapeDtypeStruct(x.q.shape, dtype), scratch, (x, given))


def dk_dv_kernel(
    x: Inputs, given: Cotangents, *, scale: float, rate: float, groups: int, across: int, interpret: bool
) -> tuple[Float[Array, "batch keys heads head_dim"], Float[Array, "batch keys heads value_dim"]]:
    """`x.walk` and `x.allowed` are transposed: a warpgroup has 64 keys, and the queries go by."""
    if x.q.shape[-1] + x.v.shape[-1] <= 256:
        return dk_dv_part(x, given, scale, rate, groups, across, interpret, ("k", "v"))
    # both sums do not fit into the registers
    return tuple(dk_dv_part(x, given, scale, rate, groups, across, interpret, (part,))[0] for part in "kv")


def dk_dv_part(
    x: Inputs,
    given: Cotangents,
    scale: float,
    rate: float,
    groups: int,
    across: int,
    interpret: bool,
    wanted: tuple[str, ...],
) -> tuple[Array, ...]:
    batch, keys, heads, head_dim = x.k.shape
    value_dim, dtype, tile = x.v.shape[-1], x.q.dtype, (ROWS, across)
    to_log2 = scale * math.log2(math.e)
    r = Registers(interpret)

    def body(
        operands, *refs, k_smem, v_smem, q_smem, d_out_smem, lse_smem, delta_smem, here_ready, ready, free
    ) -> None:  # type: ignore[no-untyped-def]
        (x, given), outs = operands, dict(zip(wanted, refs))
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
                    drop = lambda x: jnp.where(keep, x / (1 - rate), 0)
                sums = dict(sums)
                if "v" in sums:
                    sums["v"] = r.dot(drop(p).astype(dtype), d_out_smem.at[slot], sums["v"].shape, sums["v"])
                if "k" in sums:
                    d_p = drop(r.dot(v_smem.at[group], d_out_smem.at[slot], tile, b_t=True))
                    d_s = p * (d_p - columns(r.load(delta_smem.at[slot], LAYOUT.reduce(0)), tile))
                    sums["k"] = r.dot(d_s.astype(dtype), q_smem.at[slot], sums["k"].shape, sums["k"])
                plgpu.barrier_arrive(free.at[slot])
                return sums

            dims = dict(k=head_dim, v=value_dim)
            sums = lax.fori_loop(0, count, step, {name: r.full((ROWS, dims[name]), 0) for name in wanted})
            for name, smem, factor in (("k", k_smem, scale), ("v", v_smem, 1)):
                if name in sums:
                    smem.at[group][...] = (sums[name] * factor).astype(dtype)
                    plgpu.commit_smem()
                    plgpu.copy_smem_to_gmem(smem.at[group], outs[name].at[b, here, h])
            plgpu.wait_smem_to_gmem(0)

    scratch = dict(
        k_smem=swizzled((groups, ROWS, head_dim), dtype),
        v_smem=swizzled((groups, ROWS, value_dim), dtype),
        q_smem=swizzled((STEPS, across, head_dim), dtype),
        d_out_smem=swizzled((STEPS, across, value_dim), dtype),
        lse_smem=plgpu.SMEM((STEPS, across), jnp.float32),
        delta_smem=plgpu.SMEM((STEPS, across), jnp.float32),
        here_ready=plgpu.Barrier(num_arrivals=2, num_barriers=groups),
        ready=plgpu.Barrier(num_arrivals=4, num_barriers=STEPS),
        free=plgpu.Barrier(num_arrivals=groups, num_barriers=STEPS),
    )
    shapes = dict(k=x.k.shape, v=x.v.shape)
    outs = tuple(jax.ShapeDtypeStruct(shapes[name], dtype) for name in wanted)
    grid = dict(batch=batch, head=heads, line=keys // (groups * ROWS))
    return launch(body, interpret, grid, groups, outs, scratch, (x, given))
