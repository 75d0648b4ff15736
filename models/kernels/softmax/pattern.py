"""Patterns, which say by position which keys a query may see, and the tiles that a pattern leaves of all pairs.

A pattern is NumPy and hashable. So a program builds it once while it is traced, and jit finds a compiled program by it.
Its rule takes arrays of JAX too, and is then part of the program.
"""

import math
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, lru_cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

AnyArray = np.ndarray | Array


class Seen(IntEnum):
    """How much of a tile a pattern leaves."""

    NONE = 0
    SOME = 1
    ALL = 2


class Pattern:
    """A rule on positions. `a | b` allows what either allows, `a & b` what both allow, and `~a` what a does not allow.

    A subclass defines `allowed`. It may define the other methods too, so that long sequences need not be examined pair
    by pair.
    """

    def allowed(self, i: Int[AnyArray, "*#ij"], j: Int[AnyArray, "*#ij"]) -> Bool[AnyArray, "*ij"]:
        """Whether queries at i may see keys at j."""
        raise NotImplementedError

    def seen(self, rows: range, columns: range) -> Seen:
        """How much of a tile the pattern leaves."""
        tile = self.allowed(np.array(rows)[:, None], np.array(columns))
        return Seen.ALL if tile.all() else Seen.SOME if tile.any() else Seen.NONE

    def spans(self, rows: range, keys: int) -> list[range]:
        """Ranges of keys. The queries in `rows` see no key outside of them, and need not see all keys in them."""
        return [range(keys)]

    def place(self, i: int, j: int) -> object:
        """A label of the tile at (i, j): two tiles of the same shape with equal labels have the same content."""
        return i, j

    def sizes(self) -> list[tuple[int, int]]:
        """Sizes (queries, keys) of tiles whose edges are edges of the pattern."""
        return []

    def __or__(self, other: "Pattern") -> "Pattern":
        return Either(self, other)

    def __and__(self, other: "Pattern") -> "Pattern":
        return Both(self, other)

    def __invert__(self) -> "Pattern":
        return Not(self)


@dataclass(frozen=True)
class Window(Pattern):
    """Keys from `before` tokens before the query to `after` tokens after it; a side of None has no bound."""

    before: int | None = None
    after: int | None = None

    def __post_init__(self) -> None:
        if min(self.before or 0, self.after or 0) < 0:
            raise ValueError(f"Window({self.before}, {self.after}): neither side may be below 0")

    def allowed(self, i, j):  # type: ignore[no-untyped-def]
        before, after = (math.inf if side is None else side for side in (self.before, self.after))
        return (i - j <= before) & (j - i <= after)

    def seen(self, rows, columns):  # type: ignore[no-untyped-def]
        farthest = rows[-1] - columns[0], columns[-1] - rows[0]  # how far a key is before, after
        nearest = rows[0] - columns[-1], columns[0] - rows[-1]
        sides = [(f, n, s) for f, n, s in zip(farthest, nearest, (self.before, self.after)) if s is not None]
        if any(n > s for _, n, s in sides):
            return Seen.NONE
        return Seen.ALL if all(f <= s for f, _, s in sides) else Seen.SOME

    def spans(self, rows, keys):  # type: ignore[no-untyped-def]
        start = 0 if self.before is None else max(rows[0] - self.before, 0)
        stop = keys if self.after is None else min(rows[-1] + self.after + 1, keys)
        return [range(start, stop)] if start < stop else []

    def place(self, i, j):  # type: ignore[no-untyped-def]
        return i - j

    def sizes(self):  # type: ignore[no-untyped-def]
        return [(side, side) for side in {self.before, self.after} if side]


FULL = Window()
CAUSAL = Window(after=0)


@dataclass(frozen=True)
class First(Pattern):
    """The first `count` keys."""

    count: int

    def allowed(self, i, j):  # type: ignore[no-untyped-def]
        return (j < self.count) & (i >= 0)

    def seen(self, rows, columns):  # type: ignore[no-untyped-def]
        return Seen((columns[0] < self.count) + (columns[-1] < self.count))

    def spans(self, rows, keys):  # type: ignore[no-untyped-def]
        return [range(min(self.count, keys))] if self.count and keys else []

    def place(self, i, j):  # type: ignore[no-untyped-def]
        return j


@dataclass(frozen=True)
class SameBlock(Pattern):
    """Keys of the query's own block. Block n has the queries from n `queries` on, and the keys from n `keys` on."""

    queries: int
    keys: int

    def allowed(self, i, j):  # type: ignore[no-untyped-def]
        return i // self.queries == j // self.keys

    def seen(self, rows, columns):  # type: ignore[no-untyped-def]
        of_rows = rows[0] // self.queries, rows[-1] // self.queries
        of_columns = columns[0] // self.keys, columns[-1] // self.keys
        if of_rows[1] < of_columns[0] or of_columns[1] < of_rows[0]:
            return Seen.NONE
        return Seen.ALL if of_rows[0] == of_rows[1] == of_columns[0] == of_columns[1] else Seen.SOME

    def spans(self, rows, keys):  # type: ignore[no-untyped-def]
        first, last = rows[0] // self.queries, rows[-1] // self.queries
        return [range(min(first * self.keys, keys), min((last + 1) * self.keys, keys))]

    def place(self, i, j):  # type: ignore[no-untyped-def]
        return i % self.queries, j % self.keys, i // self.queries - j // self.keys

    def sizes(self):  # type: ignore[no-untyped-def]
        return [(self.queries, self.keys)]


@dataclass(frozen=True)
class Blocks(Pattern):
    """Blocks of `block` tokens. A query of block m sees the keys of all blocks in rows[m]."""

    block: int
    rows: tuple[tuple[int, ...], ...]

    @cached_property
    def table(self) -> Bool[np.ndarray, "rows columns"]:
        """Which blocks see which."""
        table = np.zeros((max(len(self.rows), 1), 1 + max((n for row in self.rows for n in row), default=0)), bool)
        for m, row in enumerate(self.rows):
            table[m, list(row)] = True
        return table

    def allowed(self, i, j):  # type: ignore[no-untyped-def]
        table = self.table if isinstance(i, np.ndarray) else jnp.asarray(self.table)
        m, n = i // self.block, j // self.block
        inside = [x < size for x, size in zip((m, n), table.shape)]
        return inside[0] & inside[1] & table[m * inside[0], n * inside[1]]

    def spans(self, rows, keys):  # type: ignore[no-untyped-def]
        of = self.rows[rows[0] // self.block : rows[-1] // self.block + 1]
        spans = (range(n * self.block, min((n + 1) * self.block, keys)) for n in sorted({n for row in of for n in row}))
        return [span for span in spans if len(span)]

    def sizes(self):  # type: ignore[no-untyped-def]
        return [(self.block, self.block)]


@dataclass(frozen=True)
class Either(Pattern):
    one: Pattern
    other: Pattern

    def allowed(self, i, j):  # type: ignore[no-untyped-def]
        return self.one.allowed(i, j) | self.other.allowed(i, j)

    def seen(self, rows, columns):  # type: ignore[no-untyped-def]
        both = self.one.seen(rows, columns), self.other.seen(rows, columns)
        # two parts may make up a whole tile: it counts as SOME, and its mask is full
        return max(both)

    def spans(self, rows, keys):  # type: ignore[no-untyped-def]
        return [*self.one.spans(rows, keys), *self.other.spans(rows, keys)]

    def place(self, i, j):  # type: ignore[no-untyped-def]
        return self.one.place(i, j), self.other.place(i, j)

    def sizes(self):  # type: ignore[no-untyped-def]
        return [*self.one.sizes(), *self.other.sizes()]


@dataclass(frozen=True)
class Both(Pattern):
    one: Pattern
    other: Pattern

    def allowed(self, i, j):  # type: ignore[no-untyped-def]
        return self.one.allowed(i, j) & self.other.allowed(i, j)

    def seen(self, rows, columns):  # type: ignore[no-untyped-def]
        both = self.one.seen(rows, columns), self.other.seen(rows, columns)
        return Pattern.seen(self, rows, columns) if both == (Seen.SOME, Seen.SOME) else min(both)

    def spans(self, rows, keys):  # type: ignore[no-untyped-def]
        return min(self.one.spans(rows, keys), self.other.spans(rows, keys), key=lambda spans: sum(map(len, spans)))

    def place(self, i, j):  # type: ignore[no-untyped-def]
        return self.one.place(i, j), self.other.place(i, j)

    def sizes(self):  # type: ignore[no-untyped-def]
        return [*self.one.sizes(), *self.other.sizes()]


@dataclass(frozen=True)
class Not(Pattern):
    one: Pattern

    def allowed(self, i, j):  # type: ignore[no-untyped-def]
        return ~self.one.allowed(i, j)

    def seen(self, rows, columns):  # type: ignore[no-untyped-def]
        return Seen(2 - self.one.seen(rows, columns))

    def place(self, i, j):  # type: ignore[no-untyped-def]
        return self.one.place(i, j)

    def sizes(self):  # type: ignore[no-untyped-def]
        return self.one.sizes()


@dataclass(frozen=True, eq=False)
class Tiles:
    """The tiles that a pattern leaves of the matrix [queries, keys], row by row or, transposed, column by column.

    Line m is a row of tiles, or a column. It has the entries starts[m] to starts[m + 1]. Entry e is tile index[e] of
    its line. All of that tile is seen if kind[e] is 0; otherwise masks[kind[e] - 1] says which pairs are. Positions
    past the end are unseen.
    """

    starts: Int[np.ndarray, " lines+1"]
    index: Int[np.ndarray, " entries"]
    kind: Int[np.ndarray, " entries"]
    masks: Bool[np.ndarray, "kinds block_q block_k"]

    @property
    def counts(self) -> Int[np.ndarray, " lines"]:
        """The number of tiles in each line."""
        return np.diff(self.starts)

    def transposed(self, lines: int) -> "Tiles":
        """The same tiles by their other axis, which has `lines` lines."""
        order = np.argsort(self.index, kind="stable")
        line = np.repeat(np.arange(len(self.counts), dtype=np.int32), self.counts)
        starts = np.zeros(lines + 1, np.int32)
        np.cumsum(np.bincount(self.index, minlength=lines), out=starts[1:])
        return Tiles(starts, line[order], self.kind[order], self.masks)


@lru_cache(maxsize=256)
def tiles(pattern: Pattern, queries: int, keys: int, block_q: int, block_k: int) -> Tiles:
    """The key tiles of each query tile, in order. The last tiles may reach past the end."""
    starts, index, kind = [0], [], []
    masks: list[np.ndarray] = []
    known: dict[object, int] = {}  # numbers of masks, by the place of a tile and by its content
    for i in range(0, queries, block_q):
        rows = range(i, min(i + block_q, queries))
        spans = pattern.spans(rows, keys)
        columns = sorted({n for s in spans if len(s) for n in range(s[0] // block_k, s[-1] // block_k + 1)})
        for n in columns:
            j = n * block_k
            inside = range(j, min(j + block_k, keys))
            seen = pattern.seen(rows, inside)
            if seen is Seen.NONE:
                continue
            if seen is Seen.ALL and len(inside) == block_k:  # the rows past the end do not count
                index.append(n)
                kind.append(0)
                continue
            place = (pattern.place(i, j), len(rows), len(inside))
            if place not in known:
                mask = np.zeros((block_q, block_k), bool)
                mask[: len(rows), : len(inside)] = pattern.allowed(np.array(rows)[:, None], np.array(inside))
                content = mask.tobytes()
                if content not in known:
                    if mask.any():
                        masks.append(mask)
                    known[content] = len(masks) if mask.any() else 0
                known[place] = known[content]
            if known[place]:
                index.append(n)
                kind.append(known[place])
        starts.append(len(index))
    return Tiles(
        np.array(starts, np.int32),
        np.array(index, np.int32),
        np.array(kind, np.int32),
        np.array(masks, bool).reshape(-1, block_q, block_k),
    )
