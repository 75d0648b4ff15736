"""The tiles that a Hopper kernel of softmax attention walks, and their sizes."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Int8

from lra.models.kernels.softmax.pattern import Pattern, Tiles, tiles

ROWS = 64  # rows of a tile in a warpgroup, as its tensor core takes them
WIDTHS = (16, 32, 64, 128, 256)  # widths of heads that tensor cores and swizzles take; others are padded


class Size(NamedTuple):
    """A block of threads has tiles [64 groups, across], of which each warpgroup has 64 rows. `steps` tiles are on their
    way to the block at a time.
    """

    groups: int
    across: int
    steps: int

    @property
    def rows(self) -> int:
        return self.groups * ROWS


def size(pattern: Pattern, queries: int, keys: int, widest: int, crowded: bool, backward: bool) -> Size:
    """The size with which no register is spilled.

    Args:
      widest: the width of the widest head, one of WIDTHS.
      crowded: whether pairs or dropout take registers.
    """
    across = max(128 >> (backward + (widest > 128) + (crowded and widest > 64)), 32)
    steps = 4 if widest <= 64 and not backward else 2
    if queries <= ROWS or (backward and widest > 128):  # a second warpgroup would find no row, or no registers
        return Size(1, across, steps)
    coarse = tiles(pattern, queries, keys, 2 * ROWS, 2 * ROWS).kind
    if 2 * np.count_nonzero(coarse) >= len(coarse):  # most tiles are edges: smaller ones may save much
        fine = tiles(pattern, queries, keys, ROWS, ROWS).kind
        # Two warpgroups load half as much each. So small tiles must leave less than two thirds of the work:
        # an estimate, not measured.
        if 3 * len(fine) < 2 * 4 * len(coarse):
            return Size(1, min(across, ROWS), steps)
    return Size(2, across, steps)


def width(dim: int) -> int:
    return next(w for w in WIDTHS if w >= dim)


class Walk(NamedTuple):
    """The tiles of each line, as arrays in global memory. A line is a row of the matrix of logits or, transposed, a
    column.
    """

    counts: Int[Array, "batch lines"]
    starts: Int[Array, " lines"]  # a line's first entry
    first: Int[Array, " lines"]  # the tile of a line's first entry
    tiles: Int[Array, " entries"] | None  # None if the tiles of each line are neighbours
    kind: Int[Array, " entries"] | None  # 0: all of a tile is seen, n: masks[n - 1] says what; None if all are 0
    masks: Int8[Array, "kinds rows across"] | None

    def tile(self, line: Any, t: Any) -> Any:
        """The line's tile t."""
        return self.first[line] + t if self.tiles is None else self.tiles[self.starts[line] + t]


def walk(lines: Tiles, batch: int, ends: Int[Array, "batch 1"] | None, across: int, transposed: bool = False) -> Walk:
    """The walk over the tiles that are not all padding. The real tokens of an example end at `ends`; a tile has
    `across` of them.
    """
    starts, index = lines.starts[:-1], lines.index
    first = np.append(index, 0)[starts].astype(np.int32)  # a last line may be empty
    neighbours = np.array_equal(index, np.repeat(first - starts, lines.counts) + np.arange(len(index)))
    if ends is None:
        counts = jnp.broadcast_to(jnp.asarray(lines.counts), (batch, len(starts)))
    elif neighbours:
        counts = jnp.clip((ends + across - 1) // across - first, 0, lines.counts)
    else:
        before = jnp.cumsum(jnp.asarray(index) * across < ends, axis=1)
        counts = jnp.diff(jnp.pad(before, ((0, 0), (1, 0)))[:, lines.starts], axis=1)
    masks = lines.masks.swapaxes(1, 2) if transposed else lines.masks
    return Walk(
        counts,
        jnp.asarray(starts),
        jnp.asarray(first),
        None if neighbours else jnp.asarray(index),
        jnp.asarray(lines.kind) if len(masks) else None,
        jnp.asarray(masks, jnp.int8) if len(masks) else None,
    )
