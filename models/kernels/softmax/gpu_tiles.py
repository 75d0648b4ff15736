"""What the attention kernels for Hopper share: the tiles that a block of threads walks, and what is seen of each."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array, Int

from lra.models.kernels.mosaic_gpu import LANE, Registers, interpreted, swizzled
from lra.models.kernels.softmax.pattern import Tiles

ROWS = 64  # of a warpgroup's tile, what tensor cores take
HIDDEN = -1e30  # logit of a pair that is not seen
FLOOR = -1e20  # no maximum is lower, so that a row which sees nothing has exp(HIDDEN - maximum) = 0


class Walk(NamedTuple):
    """The tiles along each line of tiles (queries by keys, or keys by queries), as arrays in global memory."""

    counts: Int[Array, "batch lines"]
    starts: Int[Array, " lines"]  # a line's first entry
    first: Int[Array, " lines"]  # the tile of that entry
    index: Int[Array, " entries"] | None  # tiles; None if those of each line are neighbours
    kind: Int[Array, " entries"] | None  # 0: all of it is seen, n: what masks[n - 1] says; None if all are 0
    masks: Int[Array, "kinds rows columns"] | None  # int8

    def tile(self, line: Any, t: Any) -> Any:
        return self.first[line] + t if self.index is None else self.index[self.starts[line] + t]


def walk(tiles: Tiles, counts: Int[Array, "batch lines"], transposed: bool = False) -> Walk:
    starts, index = tiles.starts[:-1], tiles.index
    first = np.append(index, 0)[starts]  # a last line may be empty
    neighbours = np.array_equal(index, np.repeat(first - starts, tiles.counts) + np.arange(len(index)))
    masks = tiles.masks.swapaxes(1, 2) if transposed else tiles.masks
    return Walk(
        counts,
        jnp.asarray(starts),
        jnp.asarray(first.astype(np.int32)),
        None if neighbours else jnp.asarray(index),
        jnp.asarray(tiles.kind) if len(masks) else None,
        jnp.asarray(masks.astype(np.int8)) if len(masks) else None,
    )


def hide(
    r: Registers, logits: jax.Array, walk: Walk, line: Any, t: Any, rows: Any, allowed: Any | None
) -> jax.Array:  # fmt: skip
    """HIDDEN where the pattern's mask of tile t, of which these are `rows`, or `allowed`, for these logits, has 0."""

    def where(seen: Any, logits: jax.Array) -> jax.Array:
        return jnp.where(r.load(seen, optimized=False) != 0, logits, HIDDEN)

    if walk.kind is not None:
        kind = walk.kind[walk.starts[line] + t]
        some = lambda x: where(walk.masks.at[kind - 1, rows], x)
        logits = lax.cond(kind > 0, some, lambda x: x, logits)
    return logits if allowed is None else where(allowed, logits)


def feed(count: Any, steps: int, ready: Any, free: Any, copy: Callable[[Any, Any, Any], None]) -> None:
    """Fills a ring of so many slots: copy(t, slot, barrier) once the slot's last reader has left it."""

    @pl.loop(0, count)
    def _(t: Any) -> None:
        slot = lax.rem(t, jnp.int32(steps))

        @pl.when(t >= steps)
        def _() -> None:
            plgpu.barrier_wait(free.at[slot])

        copy(t, slot, ready.at[slot])

    @pl.loop(jnp.maximum(count - steps, 0), count)
    def _(t: Any) -> None:  # no arrival is left at the end
        plgpu.barrier_wait(free.at[lax.rem(t, jnp.int32(steps))])


def tile_memory(shape: tuple[int, ...], dtype: Any, across: int) -> Any:
    """Shared memory, swizzled no wider than a product over `across` can take."""
    return swizzled(shape, dtype, min(128, 2 * across, 2 * shape[-1]))


def launch(
    body: Callable, interpret: bool, grid: dict[str, int], groups: int, out: Any, scratch: dict[str, Any], operands: Any
) -> Any:
    """`groups` warpgroups that compute and one that copies, for each point of the grid (the last axis the fastest)."""
    return plgpu.kernel(
        body,
        out_type=out,
        scratch_types=scratch,
        grid=tuple(grid.values()),
        grid_names=tuple(grid),
        num_threads=groups + 1,
        thread_name="group",
        interpret=interpreted() if interpret else None,
        compiler_params=plgpu.CompilerParams(approx_math=True, lowering_semantics=LANE),
    )(operands)
