"""In which order XLA visits the tiles of a pattern: lines of about as many tiles together, in parts of bounded size."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Int

from lra.models.kernels.softmax.pattern import FULL, Pattern, tiles

SCORES = 512  # alive at once, at most, for each token of the longer side and each head
# how many scores take as long, on a CPU, as to bring a key to a line, and as a line
GATHER, LINE = 16, 512
NOTHING = -1  # the kind of a tile that only fills up a line

Table = np.ndarray | Array  # known when a program is traced, or a part's when it is one of several
Lists = Sequence[Sequence[Int[np.ndarray, " entries"]]]


class Part(NamedTuple):
    """Lines of queries that are computed together, each with the same number of key tiles (`width`).

    Attributes:
      lines: which; -1 is none.
      tiles, kind: their key tiles, and how much of each is seen, as in `Tiles`; None if all is.
      folds: for groups of key tiles, the tiles of this part that belong to each; a number past them is none.
    """

    lines: Int[Table, "*parts lines"]
    tiles: Int[Table, "*parts lines width"]
    kind: Int[Table, "*parts lines width"] | None
    folds: tuple[Int[Table, "*parts columns most"], ...]


class Group(NamedTuple):
    """Parts of one shape, along a first axis; `place`: where each key tile is in their folds, one after the other."""

    parts: Part
    place: Int[np.ndarray, " columns"]


class Schedule(NamedTuple):
    """All lines, `place`: where each is in the groups, one after the other; masks by kind, the last sees nothing."""

    block_q: int
    block_k: int
    groups: tuple[Group, ...]
    place: Int[np.ndarray, " lines"]
    masks: Bool[np.ndarray, "kinds block_q block_k"]


@lru_cache(maxsize=256)
def schedule(pattern: Pattern, queries: int, keys: int, whole: bool) -> Schedule:
    """`whole`: a line is one tile of all keys, as suits data of all pairs."""
    lines = -(-queries // max(SCORES * max(queries, keys) // keys, 1))
    widest = -(-queries // lines), keys
    block_q, block_k = widest if whole or pattern == FULL else cheapest(pattern, queries, keys, widest)
    found = tiles(pattern, queries, keys, block_q, block_k)
    index, kind = np.append(found.index, 0), np.append(found.kind, NOTHING)
    tables = by_width([np.split(np.arange(len(found.index)), found.starts[1:-1])])
    scores = sum(table.size for _, table in tables) * block_q * block_k
    most = -(-scores // (SCORES * max(queries, keys)))
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
    masks = np.concatenate([everything, found.masks, nothing])
    return Schedule(block_q, block_k, tuple(groups), places(np.concatenate(order)), masks)


def cheapest(pattern: Pattern, queries: int, keys: int, widest: tuple[int, int]) -> tuple[int, int]:
    """The sizes of tiles with the least work, found on a shorter problem of that shape."""
    longest = max(queries, keys)
    short_q, short_k = (-(-n * min(longest, 2048) // longest) for n in (queries, keys))
    costs = {widest: 1.5 * queries * keys}  # it has masks to read, but gathers nothing
    for size_q, size_k in (*pattern.sizes(), (16, 16)):
        while max(size_q, size_k) <= min(512, longest):
            found = tiles(pattern, short_q, short_k, size_q, size_k)
            cost = len(found.index) * size_k * (size_q + GATHER) + len(found.counts) * LINE
            costs[size_q, size_k] = cost * queries / short_q
            size_q, size_k = 2 * size_q, 2 * size_k
    return min(costs, key=lambda sizes: costs[sizes])


def by_width(lists: Lists) -> list[tuple[Int[np.ndarray, " lines"], Int[np.ndarray, "parts lines width"]]]:
    """lists[part][line] as tables of a few widths: lines, and entries filled up by -1, to at most a quarter more."""
    longest = np.array([[len(entries) for entries in part] for part in lists]).max(0)
    unit = 2 ** np.maximum(np.frexp(longest)[1] - 3, 0)
    widths = np.maximum(-(-longest // unit) * unit, 1)
    found = []
    for width in np.unique(widths):
        lines = np.flatnonzero(widths == width)
        table = np.full((len(lists), len(lines), width), -1)
        for part, rows in zip(lists, table):
            for line, row in zip(lines.tolist(), rows):
                row[: len(part[line])] = part[line]
        found.append((lines, table))
    return found


def folds_of(
    index: Int[np.ndarray, "parts lines width"], real: Bool[np.ndarray, "parts lines width"], columns: int
) -> tuple[tuple[Int[np.ndarray, "parts some most"], ...], Int[np.ndarray, " columns"]]:
    """The folds of parts, and the place of each key tile in them."""
    lists = []
    for part, is_real in zip(index.reshape(len(index), -1), real.reshape(len(real), -1)):
        entries = np.flatnonzero(is_real)
        entries = entries[np.argsort(part[entries], kind="stable")]
        lists.append(np.split(entries, np.searchsorted(part[entries], np.arange(1, columns))))
    members, tables = zip(*by_width(lists))
    past = index[0].size
    return tuple(np.where(table < 0, past, table) for table in tables), places(np.concatenate(members))


def places(order: Int[np.ndarray, " all"]) -> Int[np.ndarray, " real"]:
    """Where 0, 1, ... are; -1 is none of them."""
    return np.argsort(order, kind="stable")[np.count_nonzero(order < 0) :]
