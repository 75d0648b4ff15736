"""Softmax attention on NVIDIA Hopper, through Pallas's Mosaic GPU."""

from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lra.models.kernels.softmax.gpu_backward import Cotangents, dk_dv_kernel, dq_kernel
from lra.models.kernels.softmax.gpu_forward import Inputs, forward_kernel
from lra.models.kernels.softmax.gpu_tiles import HIDDEN, ROWS, walk
from lra.models.kernels.softmax.pattern import Pattern, Tiles, tiles

if TYPE_CHECKING:
    from lra.models.kernels.softmax.op import Operands, Static

WIDTHS = (16, 32, 64, 128, 256)  # of heads, what tensor cores and their swizzles take; others are padded


def admits(x: "Operands", pattern: Pattern) -> None:
    """Raises NotImplementedError, with the reason, if the kernels do not do it."""
    if {x.q.dtype, x.k.dtype, x.v.dtype} not in ({jnp.dtype(jnp.bfloat16)}, {jnp.dtype(jnp.float16)}):
        raise NotImplementedError(
            f"mosaic_gpu attends with q, k and v in bfloat16 or float16, not {x.q.dtype}, {x.k.dtype}, {x.v.dtype}: "
            "Hopper's tensor cores round float32 to TF32"
        )
    if max(x.q.shape[-1], x.v.shape[-1]) > WIDTHS[-1]:
        raise NotImplementedError(f"mosaic_gpu has heads of at most {WIDTHS[-1]}")
    if x.bias is not None:
        raise NotImplementedError("mosaic_gpu has no bias")


class Blocks(NamedTuple):
    """How the work is cut: a block of threads has 64 lines for each of its warpgroups and walks tiles of `across`."""

    groups: int
    across: int

    @property
    def lines(self) -> int:
        return self.groups * ROWS


def blocks(
    pattern: Pattern, queries: int, keys: int, head_dim: int, value_dim: int, dropped: bool, backward: bool
) -> Blocks:
    """Two warpgroups share what is loaded; one skips more of a pattern whose tiles would be seen in part."""
    widest = max(width(head_dim), width(value_dim))
    across = max(32, 128 >> (backward + (widest > 128) + (dropped and widest > 64)))
    if queries <= ROWS or (backward and widest > 128):  # the second of them would find no registers or memory
        return Blocks(1, across)
    coarse = tiles(pattern, queries, keys, 2 * ROWS, 128)
    if 2 * (coarse.kind > 0).sum() < len(coarse.kind):
        return Blocks(2, across)
    fine = tiles(pattern, queries, keys, ROWS, 64)
    # a tile that two share takes half the traffic: it may be a half larger
    return Blocks(1, 64) if 6 * len(fine.kind) < 4 * 4 * len(coarse.kind) else Blocks(2, across)


def forward(
    static: "Static", x: "Operands"
) -> tuple[Float[Array, "batch queries heads value_dim"], Float[Array, "batch queries heads"]]:
    queries, keys = x.q.shape[1], x.k.shape[1]
    size = blocks(static.pattern, queries, keys, x.q.shape[-1], x.v.shape[-1], static.rate > 0, False)
    steps = 4 if width(x.q.shape[-1]) + width(x.v.shape[-1]) <= 128 else 2
    seen = tiles(static.pattern, queries, keys, size.lines, size.across)
    counts = tiles_with_keys(seen, x, size.across)
    out, lse = forward_kernel(
        inputs(x, size.lines, size.across)._replace(walk=walk(seen, counts)),
        x.q.shape[-1] ** -0.5, static.rate, size.groups, size.across, steps, static.interpret,
    )  # fmt: skip
    return out[:, :queries, :, : x.v.shape[-1]], jnp.swapaxes(lse[:, :, :queries], 1, 2)


def backward(
    static: "Static",
    x: "Operands",
    lse: Float[Array, "batch queries heads"],
    delta: Float[Array, "batch queries heads"],
    d_out: Float[Array, "batch queries heads value_dim"],
) -> tuple[Array, Array, Array, None]:
    queries, keys, head_dim, value_dim = x.q.shape[1], x.k.shape[1], x.q.shape[-1], x.v.shape[-1]
    size = blocks(static.pattern, queries, keys, head_dim, value_dim, static.rate > 0, True)
    run = dict(
        scale=head_dim**-0.5, rate=static.rate, groups=size.groups, across=size.across, interpret=static.interpret
    )
    padded = inputs(x, size.lines, size.lines)
    cotangents = Cotangents(
        pad(jnp.swapaxes(lse, 1, 2) / np.log(2), {2: size.lines}),
        pad(jnp.swapaxes(delta, 1, 2), {2: size.lines}),
        pad(d_out, {1: size.lines}, {3: width(value_dim)}),
    )
    seen = tiles(static.pattern, queries, keys, size.lines, size.across)
    d_q = dq_kernel(padded._replace(walk=walk(seen, tiles_with_keys(seen, x, size.across))), cotangents, **run)
    seen = tiles(static.pattern, queries, keys, size.across, size.lines).transposed(-(-keys // size.lines))
    real = jnp.arange(len(seen.counts)) * size.lines < last_key(x)[:, None]
    allowed = None if padded.allowed is None else padded.allowed.swapaxes(2, 3)
    padded = padded._replace(
        walk=walk(seen, jnp.where(real, jnp.asarray(seen.counts), 0), transposed=True), allowed=allowed
    )
    d_k, d_v = dk_dv_kernel(padded, cotangents, **run)
    return d_q[:, :queries, :, :head_dim], d_k[:, :keys, :, :head_dim], d_v[:, :keys, :, :value_dim], None


def width(dim: int) -> int:
    return next(w for w in WIDTHS if w >= dim)


def pad(x: Array, multiples: dict[int, int], sizes: dict[int, int] | None = None, value: Any = 0) -> Array:
    """Axes to the next multiple, or to a size."""
    to = {axis: -(-x.shape[axis] // multiple) * multiple for axis, multiple in multiples.items()} | (sizes or {})
    return jnp.pad(x, [(0, to.get(i, n) - n) for i, n in enumerate(x.shape)], constant_values=value)


def inputs(x: "Operands", block_q: int, block_k: int) -> Inputs:
    d, e = width(x.q.shape[-1]), width(x.v.shape[-1])
    mask = None if x.mask is None else jnp.where(x.mask, 0.0, HIDDEN).swapaxes(1, 2)
    return Inputs(
        pad(x.q, {1: block_q}, {3: d}),
        pad(x.k, {1: block_k}, {3: d}),
        pad(x.v, {1: block_k}, {3: e}),
        None,
        None if mask is None else pad(mask, {2: block_k}, value=HIDDEN),
        None if x.allowed is None else pad(x.allowed.astype(jnp.int8), {2: block_q, 3: block_k}),
        x.seeds,
    )


def last_key(x: "Operands") -> Int[Array, " batch"]:
    """Keys up to the last one that any head may see, of each example."""
    if x.mask is None:
        return jnp.full(len(x.k), x.k.shape[1])
    return jnp.where(x.mask.any(2), jnp.arange(1, x.k.shape[1] + 1), 0).max(1)


def tiles_with_keys(seen: Tiles, x: "Operands", block_k: int) -> Int[Array, "batch lines"]:
    """How many of the first tiles of each line begin before the last key."""
    if x.mask is None:
        return jnp.tile(jnp.asarray(seen.counts), (len(x.k), 1))
    before = jnp.cumsum(jnp.asarray(seen.index) * block_k < last_key(x)[:, None], axis=1)
    before = jnp.pad(before, ((0, 0), (1, 0)))[:, seen.starts]
    return jnp.diff(before, axis=1)
