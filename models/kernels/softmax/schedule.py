"""The order in which XLA visits the tiles of a pattern: lines with similar numbers of tiles together, in
bounded parts.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Int

from lra.models.kernels.softmax.pattern import FULL, Pattern, tiles

SCORES = 512  # scores that are alive at once, at most, for each token of the longer side and each head
# On a CPU, bringing a key to a line takes as long as this many scores, and a line as long as this many.
GATHER, LINE = 16, 512
NOTHING = -1  # the kind of a tile that only fills up a line

Table = np.ndarray | Array  # NumPy if known when a program is traced; an Array inside a scan over parts
Lists = Sequence[Sequence[Int[np.ndarray, " entries"]]]


class Part(NamedTuple):
    """Lines of queries that are computed together, each with the same number of key tiles (`width`).

    Attributes:
      lines: the numbers of the lines; -1 fills up a part and is no line.
      tiles: the key tiles of each line.
      kind: how much of each tile is seen, as in `Tiles`; None if all of every tile is seen.
      folds: for groups of key tiles, the places in this part that hold each of these tiles. A place past the last one
        fills up and holds none.
    """

    lines: Int[Table, "*parts lines"]
    tiles: Int[Table, "*parts lines width"]
    kind: Int[Table, "*parts lines width"] | None
    folds: tuple[Int[Table, "*parts columns most"], ...]


class Group(NamedTuple):
    """Parts of one shape, along a first axis. The folds of a part, one after the other, have key tile n at place[n]."""

    parts: Part
    place: Int[np.ndarray, " columns"]


class Schedule(NamedTuple):
    """All groups of parts. The groups, one after the other, have line n at place[n]. `masks` are by kind: the first
    sees all of a tile, and the last sees nothing. `scores` is the number of all scores of a matrix.
    """

    block_q: int
    block_k: int
    groups: tuple[Group, ...]
    place: Int[np.ndarray, " lines"]
    masks: Bool[np.ndarray, "kinds block_q block_k"]
    scores: int


@lru_cache(maxsize=256)
def schedule(pattern: Pattern, queries: int, keys: int, whole: bool, cache: int | None = None) -> Schedule:
    """The schedule of a pattern. If `whole`, a line has one tile of all keys, which suits operands that hold
    all pairs. `cache` is a number of scores that are alive at once, at most, where it is not SCORES.
    """
    alive = SCORES * max(queries, keys)
    if cache is not None:
        alive = min(alive, cache)
    lines = -(-queries // max(alive // keys, 1))
    widest = -(-queries // lines), keys
    block_q, block_k = widest if whole or pattern == FULL else cheapest(pattern, queries, keys, widest)
    left = tiles(pattern, queries, keys, block_q, block_k)
    index, kind = np.append(left.index, 0), np.append(left.kind, NOTHING)
    tables = by_width([np.split(np.arange(len(left.index)), left.starts[1:-1])])
    scores = sum(table.size for _, table in tables) * block_q * block_k
    most = -(-scores // alive)
    groups, order = [], []
    for members, table in tables:
        parts = min(most, len(members))
        size = -(-len(members) // parts)
        parts = -(-len(members) // size)
        fill = parts * size - len(members)
        members = np.pad(members, (0, fill), constant_values=-1).reshape(parts, size)
        table = np.pad(table[0], ((0, fill), (0, 0)), constant_values=-1).reshape(parts, size, -1)
        folds, place = folds_of(index[table], table >= 0, -(-keys // block_k))
        kinds = kind[table] if kind[table].any() else None
        groups.append(Group(Part(members, index[table], kinds, folds), place))
        order.append(members.ravel())
    everything, nothing = np.ones((1, block_q, block_k), bool), np.zeros((1, block_q, block_k), bool)
    masks = np.concatenate([everything, left.masks, nothing])
    return Schedule(block_q, block_k, tuple(groups), places(np.concatenate(order)), masks, scores)


def cheapest(pattern: Pattern, queries: int, keys: int, widest: tuple[int, int]) -> tuple[int, int]:
    """The sizes of tiles with the least work. The work is counted on a shorter problem of the same shape."""
    longest = max(queries, keys)
    short_q, short_k = (-(-n * min(longest, 2048) // longest) for n in (queries, keys))
    costs = {widest: 1.5 * queries * keys}  # one tile of all keys needs no gather, but has masks to read
    for size_q, size_k in (*pattern.sizes(), (16, 16)):
        while max(size_q, size_k) <= min(512, longest):
            left = tiles(pattern, short_q, short_k, size_q, size_k)
            cost = len(left.index) * size_k * (size_q + GATHER) + len(left.counts) * LINE
            costs[size_q, size_k] = cost * queries / short_q
            size_q, size_k = 2 * size_q, 2 * size_k
    return min(costs, key=lambda sizes: costs[sizes])


def by_width(lists: Lists) -> list[tuple[Int[np.ndarray, " lines"], Int[np.ndarray, "parts lines width"]]]:
    """lists[part][line] as tables of a few widths. Each table comes with the lines that it has. Entries of -1 fill up a
    line, by a quarter of it at most.
    """
    longest = np.array([[len(entries) for entries in part] for part in lists]).max(0)
    unit = 2 ** np.maximum(np.frexp(longest)[1] - 3, 0)
    widths = np.maximum(-(-longest // unit) * unit, 1)
    tables = []
    for width in np.unique(widths):
        lines = np.flatnonzero(widths == width)
        table = np.full((len(lists), len(lines), width), -1)
        for part, rows in zip(lists, table):
            for line, row in zip(lines.tolist(), rows):
                row[: len(part[line])] = part[line]
        tables.append((lines, table))
    return tables


def folds_of(
    index: Int[np.ndarray, "parts lines width"], real: Bool[np.ndarray, "parts lines width"], columns: int
) -> tuple[tuple[Int[np.ndarray, "parts some most"], ...], Int[np.ndarray, " columns"]]:
    """The folds of parts, and the place of each key tile in the folds."""
    lists = []
    for part, is_real in zip(index.reshape(len(index), -1), real.reshape(len(real), -1)):
        entries = np.flatnonzero(is_real)
        entries = entries[np.argsort(part[entries], kind="stable")]
        lists.append(np.split(entries, np.searchsorted(part[entries], np.arange(1, columns))))
    members, tables = zip(*by_width(lists))
    past = index[0].size
    return tuple(np.where(table < 0, past, table) for table in tables), places(np.concatenate(members))


def places(order: Int[np.ndarray, " all"]) -> Int[np.ndarray, " real"]:
    """The places of 0, 1, ... in `order`, where -1 stands for none of them."""
    return np.argsort(order, kind="stable")[np.count_nonzero(order < 0) :]
