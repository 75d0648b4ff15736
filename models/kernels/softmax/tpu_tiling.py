"""The tiles that a TPU kernel of softmax attention visits, and their sizes."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int8

from lra.models.kernels.softmax.pattern import FULL, Pattern, Tiles, tiles

LANES = 128
SIDES = (512, 256, 128)  # sides of tiles
MAX_AREA = 512 * 512  # logits of a step, of all its heads
MAX_BLOCK = 2**18  # bytes of the keys of a step, of all its heads: vector memory has to hold a dozen such blocks
MAX_HEADS = 8  # heads of a step
SCALARS = 1000 * 2**10  # bytes of scalar memory, which has 1 MiB
MAX_TABLE = 900 * 2**10  # bytes of it for a schedule; the rest is for numbers of examples
MAX_MASKS = 64 * 2**20  # bytes of all masks of tiles
# The costs of beginning a step and of copying a token of a tile, as the number of logits that could be computed in that
# time; estimated, not measured.
STEP, TOKEN = 2**16, 64


@dataclass(frozen=True, eq=False)
class Schedule:
    """The tiles in the order of visits: those of one line (a row of tiles, or a column) after those of the other.

    Entry e is tile index[e] of line[e]. All of the tile is seen if kind[e] is 0; if kind[e] is above 0, masks[kind[e] -
    1] says what is seen. A kind of -1 marks a line without a tile, which is visited only to write zeros. Lines that are
    all alike share one list of entries: line[e] is then 0, and the kernel goes through the list `repeats` times, once
    for each line.
    """

    repeats: int
    line: Int[np.ndarray, " entries"]
    index: Int[np.ndarray, " entries"]
    kind: Int[np.ndarray, " entries"]
    masks: Int8[np.ndarray, "kinds block_k block_q"]


def schedule(lines: Tiles, repeats: int = 1) -> Schedule:
    empty = lines.counts == 0
    before = lines.starts[:-1][empty]
    return Schedule(
        repeats,
        np.repeat(np.arange(len(lines.counts), dtype=np.int32), np.maximum(lines.counts, 1)),
        np.insert(lines.index, before, 0),
        np.insert(lines.kind, before, -1),
        lines.masks.swapaxes(1, 2).astype(np.int8),
    )


class Tiling(NamedTuple):
    """The sizes of tiles, and the two orders of visits: `by_queries` goes row after row, for sums over keys; `by_keys`
    goes column after column, for sums over queries.
    """

    block_q: int
    block_k: int
    heads: int  # of a step
    by_queries: Schedule
    by_keys: Schedule


@lru_cache(maxsize=256)
def tiling_of(pattern: Pattern, queries: int, keys: int, heads: int, width: int) -> Tiling:
    """The tiling with the least work.

    Args:
      heads: the number of heads of an example.
      width: bytes of one token of a head, of keys or of values, whichever has more.

    Raises:
      NotImplementedError: the tables of no tiling fit into scalar memory, or its tiles into vector memory.
    """
    work = {}
    for side in SIDES:
        block_q, block_k = block(queries, side), block(keys, side)
        together = heads_of_a_step(heads, block_q, block_k, width)
        count = visits(pattern, queries, keys, block_q, block_k)
        lines = max(-(-queries // block_q), -(-keys // block_k))  # an empty line is visited too
        if fits(block_q, block_k, width) and (pattern == FULL or 3 * 4 * (count + lines) <= MAX_TABLE):
            work[block_q, block_k, together] = count * (
                block_q * block_k + TOKEN * (block_q + block_k) + STEP / together
            )
    if not work:
        raise NotImplementedError(f"tiles too many for scalar memory, or {width} bytes too wide for vector memory")
    block_q, block_k, together = min(work, key=lambda choice: work[choice])
    rows, columns = -(-queries // block_q), -(-keys // block_k)
    if pattern == FULL:
        # all rows are alike, and so are all columns: nobody reads the outputs of queries and keys past the end
        by_queries = schedule(tiles(FULL, block_q, keys, block_q, block_k), rows)
        by_keys = schedule(tiles(FULL, rows * block_q, block_k, block_q, block_k).transposed(1), columns)
    else:
        by_row = tiles(pattern, queries, keys, block_q, block_k)
        by_queries, by_keys = schedule(by_row), schedule(by_row.transposed(columns))
    if by_queries.masks.nbytes > MAX_MASKS:
        raise NotImplementedError(f"{len(by_queries.masks)} different masks of {block_q} by {block_k} are too many")
    return Tiling(block_q, block_k, together, by_queries, by_keys)


def examples_at_once(tiling: Tiling, heads: int, dropout: bool) -> int:
    """For how many examples scalar memory has room: for a number each and, with dropout, one for each head."""
    entries = max(len(tiling.by_queries.line), len(tiling.by_keys.line))
    return (SCALARS - 3 * 4 * entries) // (4 * (1 + heads * dropout))


def block(length: int, side: int) -> int:
    """The length of a tile: `side` or less. Among these lengths it fills the last tile best."""
    tile = -(-length // -(-length // side))
    return -(-tile // LANES) * LANES


def heads_of_a_step(heads: int, block_q: int, block_k: int, width: int) -> int:
    fit = (n for n in range(1, min(heads, MAX_HEADS) + 1) if heads % n == 0 and fits(block_q, block_k, width, n))
    return max(fit, default=1)


def fits(block_q: int, block_k: int, width: int, heads: int = 1) -> bool:
    return heads * block_q * block_k <= MAX_AREA and heads * max(block_q, block_k) * width <= MAX_BLOCK


def visits(pattern: Pattern, queries: int, keys: int, block_q: int, block_k: int) -> int:
    """The number of tiles that the spans of a pattern touch. Tiles of them in which nothing is seen are counted too,
    although no kernel visits them.
    """
    count = 0
    for i in range(0, queries, block_q):
        stop = 0
        for start, end in sorted((s[0], s[-1]) for s in pattern.spans(range(i, min(i + block_q, queries)), keys) if s):
            first, stop = max(start // block_k, stop), max(end // block_k + 1, stop)
            count += stop - min(first, stop)
    return count
