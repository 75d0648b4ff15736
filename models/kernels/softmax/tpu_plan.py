"""Which tiles a TPU kernel of softmax attention visits, and of what size."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int8

from lra.models.kernels.softmax.pattern import FULL, Pattern, Tiles, tiles

LANES = 128
MAX_TABLE = 900 * 2**10  # bytes of scalar memory for tables; it has 1 MiB
SIDES = (512, 256, 128)  # of tiles, largest first
MAX_AREA = 512 * 512  # logits of a step, of all its heads
MAX_HEADS = 8  # of a step
STEP = 2**16  # logits that could be computed in the time that a step takes to begin


@dataclass(frozen=True, eq=False)
class Schedule:
    """The tiles in the order of visits, those of a line (a row of tiles, or a column) one after the other.

    Entry e is tile index[e] of line[e]. All of it is seen where kind[e] is 0, masks[kind[e] - 1] of it otherwise; where
    kind[e] is -1 the line has no tile and is visited only to write its zeros. Lines that are all alike have one entry
    list: line[e] is then 0, and the list is gone through `repeats` times, once a line.
    """

    repeats: int
    line: Int[np.ndarray, " entries"]
    index: Int[np.ndarray, " entries"]
    kind: Int[np.ndarray, " entries"]
    masks: Int8[np.ndarray, "kinds block_k block_q"]

    @property
    def steps(self) -> int:
        return self.repeats * len(self.line)


def schedule_of(lines: Tiles, repeats: int = 1) -> Schedule:
    empty = lines.counts == 0
    before = lines.starts[:-1][empty]
    return Schedule(
        repeats,
        np.repeat(np.arange(len(lines.counts), dtype=np.int32), np.maximum(lines.counts, 1)),
        np.insert(lines.index, before, 0),
        np.insert(lines.kind, before, -1),
        lines.masks.swapaxes(1, 2).astype(np.int8),
    )


class Plan(NamedTuple):
    """`by_queries`: row after row of tiles, for what is summed over keys; `by_keys`: column after column."""

    block_q: int
    block_k: int
    heads: int  # of a step
    by_queries: Schedule
    by_keys: Schedule


@lru_cache(maxsize=256)
def plan(pattern: Pattern, queries: int, keys: int, heads: int, widest: int) -> Plan:
    """The plan with the least work, counted in logits; `widest`: bytes of the widest head of a token.

    Raises NotImplementedError: its tables would not fit into the scalar memory.
    """
    best, least = None, np.inf
    for side in SIDES:
        if side * widest > SIDES[0] * 512:  # blocks of 256 KiB
            continue
        block_q, block_k = block(queries, side), block(keys, side)
        visited = _tiles(pattern, queries, keys, block_q, block_k)
        together = heads_of_a_step(heads, block_q * block_k)
        work = visited.steps * (block_q * block_k + STEP / together)
        if work < least:
            best, least = (block_q, block_k, together, visited), work
        if (visited.kind == 0).mean() > 0.5:  # smaller tiles would not leave out much
            break
    assert best is not None
    block_q, block_k, together, by_queries = best
    by_keys = _columns(pattern, queries, keys, block_q, block_k)
    entries = max(len(by_queries.line), len(by_keys.line))
    if 3 * 4 * entries > MAX_TABLE:
        raise NotImplementedError(
            f"a pattern with {entries} tiles of {block_q} by {block_k}: their table does not fit into scalar memory"
        )
    return Plan(block_q, block_k, together, by_queries, by_keys)


def block(length: int, side: int) -> int:
    """The length of a tile: `side` or less, for tiles that fill their last one."""
    count = -(-length // side)
    return round_up(-(-length // count), LANES)


def round_up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def heads_of_a_step(heads: int, area: int) -> int:
    return max(n for n in range(1, min(heads, MAX_HEADS) + 1) if heads % n == 0 and (n == 1 or n * area <= MAX_AREA))


@lru_cache(maxsize=256)
def _tiles(pattern: Pattern, queries: int, keys: int, block_q: int, block_k: int) -> Schedule:
    # queries past the end may see keys: nobody looks at them, and the rows of FULL are alike
    if pattern == FULL:
        return schedule_of(tiles(pattern, block_q, keys, block_q, block_k), round_up(queries, block_q) // block_q)
    return schedule_of(tiles(pattern, round_up(queries, block_q), keys, block_q, block_k))


def _columns(pattern: Pattern, queries: int, keys: int, block_q: int, block_k: int) -> Schedule:
    queries, keys = round_up(queries, block_q), round_up(keys, block_k)
    if pattern == FULL:
        return schedule_of(tiles(pattern, queries, block_k, block_q, block_k).transposed(1), keys // block_k)
    return schedule_of(tiles(pattern, queries, keys, block_q, block_k).transposed(keys // block_k))
