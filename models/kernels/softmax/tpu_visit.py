"""The grid of the TPU kernels of softmax attention, which goes from tile to tile of a pattern, and a tile's logits."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array

from lra.models.kernels.mosaic_tpu import TN, dot, interpreted
from lra.models.kernels.softmax.dropout import kept
from lra.models.kernels.softmax.operands import Operands, Static
from lra.models.kernels.softmax.pattern import Pattern
from lra.models.kernels.softmax.tpu_tiling import Tiling, tiling_of

FLOOR = -1e30  # below all logits, and above UNSEEN, so that exp(UNSEEN - FLOOR) is 0
UNSEEN = -2e30

Refs = dict[str, Any]  # blocks of operands by name, [heads, width, tokens]


class Kernel(NamedTuple):
    """What a kernel does: when a line of tiles begins, with a head's tile of logits, and when the line ends."""

    start: Callable[[], None]
    add: Callable[[int, Array, Callable[[Array], Array]], None]  # head, logits [keys, queries], dropout
    finish: Callable[[], None]


class Tables(NamedTuple):
    """What is in scalar memory: a schedule, for each example the number of tiles up to its last real key, and for each
    head a seed.
    """

    line: Any
    index: Any
    kind: Any
    real: Any
    seeds: Any


class Visit:
    """A run over the tiles that a pattern leaves, line after line. A line is a row of tiles or, if `by_keys`,
    a column.
    """

    def __init__(self, static: Static, x: Operands, by_keys: bool):
        self.static, self.x, self.by_keys = static, x, by_keys
        self.tiling = tiling_for(x, static.pattern)
        self.schedule = self.tiling.by_keys if by_keys else self.tiling.by_queries
        self.tokens = {"queries": self.tiling.block_q, "keys": self.tiling.block_k}  # of a tile

    def __call__(
        self,
        kernel: Callable[..., Kernel],
        of_queries: dict[str, Array],
        outs: list[tuple[int, Any]],
        scratch: list[int],
    ) -> list[Array]:
        """[batch, tokens, heads, width], for each width and type of outs.

        Args:
          kernel: gets the blocks of operands, those of outs, and one of scratch for each of its widths, in float32.
          of_queries: [batch, queries, heads, width], operands besides q, k, v.
        """
        x, p, schedule = self.x, self.tiling, self.schedule
        batch, _, heads, _ = x.q.shape
        side, length = ("keys", x.k.shape[1]) if self.by_keys else ("queries", x.q.shape[1])
        padded = -(-length // self.tokens[side]) * self.tokens[side]
        arrays, specs = self.operands(of_queries)
        shapes = [jax.ShapeDtypeStruct((batch, heads, width, padded), dtype) for width, dtype in outs]
        results = pl.pallas_call(
            self.body(kernel),
            out_shape=shapes,
            grid_spec=pltpu.PrefetchScalarGridSpec(
                num_scalar_prefetch=len(Tables._fields),
                grid=(batch, heads // p.heads, schedule.repeats, len(schedule.line)),
                in_specs=[specs],
                out_specs=[self.block(shape, side) for shape in shapes],
                scratch_shapes=[pltpu.VMEM((p.heads, width, self.tokens[side]), jnp.float32) for width in scratch],
            ),
            compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "parallel", "parallel", "arbitrary")),
            interpret=interpreted(self.static.interpret),
        )(*self.tables(), arrays)
        return [y[..., :length].transpose(0, 3, 1, 2) for y in results]

    def tables(self) -> Tables:
        x, schedule = self.x, self.schedule
        batch, keys = x.k.shape[:2]
        mask = jnp.ones((batch, keys), bool) if x.mask is None else x.mask.any(-1)
        real = jnp.where(mask, jnp.arange(keys, dtype=jnp.int32) // self.tiling.block_k + 1, 0).max(1)
        seeds = jnp.zeros(1, jnp.int32) if x.seeds is None else x.seeds.reshape(-1)
        return Tables(schedule.line, schedule.index, schedule.kind, real, seeds)

    def operands(self, of_queries: dict[str, Array]) -> tuple[dict[str, Array], dict[str, pl.BlockSpec]]:
        x, p = self.x, self.tiling
        arrays: dict[str, Array] = {}
        specs: dict[str, pl.BlockSpec] = {}
        for name, y in {"q": x.q, **of_queries}.items():
            arrays[name] = tokens_last(y, p.block_q)
            specs[name] = self.block(arrays[name], "queries")
        of_keys = {"k": x.k, "v": x.v}
        if x.mask is not None:
            of_keys["mask"] = x.mask[..., None].astype(jnp.float32)
        for name, y in of_keys.items():
            arrays[name] = tokens_last(y, p.block_k)
            specs[name] = self.block(arrays[name], "keys")
        if x.allowed is not None:
            padding = [(0, 0), (0, 0), (0, -x.k.shape[1] % p.block_k), (0, -x.q.shape[1] % p.block_q)]
            arrays["allowed"] = jnp.pad(jnp.swapaxes(x.allowed, 2, 3).astype(jnp.int8), padding)
            specs["allowed"] = self.block(arrays["allowed"], "pairs")
        if len(self.schedule.masks):
            arrays["cut"] = jnp.asarray(self.schedule.masks)
            at_kind = lambda b, g, r, t, *tables: (jnp.maximum(Tables(*tables).kind[t] - 1, 0), 0, 0)
            specs["cut"] = pl.BlockSpec((None, p.block_k, p.block_q), at_kind)
        return arrays, specs

    def block(self, y: Array | jax.ShapeDtypeStruct, of: str) -> pl.BlockSpec:
        """The part of y that a tile needs. y is [batch, heads, width, queries or keys] or, of pairs, [batch, heads,
        keys, queries].

        If the axis of examples or of heads has the size 1, all examples or heads share it.
        """
        batch, heads = (n > 1 for n in y.shape[:2])
        shape = (self.tiling.block_k, self.tiling.block_q) if of == "pairs" else (y.shape[2], self.tokens[of])

        def at(b, g, r, t, *tables):  # type: ignore[no-untyped-def]
            queries, keys = self.place(b, r, t, Tables(*tables))
            where = {"queries": (0, queries), "keys": (0, keys), "pairs": (keys, queries)}[of]
            return b if batch else 0, g if heads else 0, *where

        return pl.BlockSpec((None, self.tiling.heads if heads else 1, *shape), at)

    def place(self, b: Any, r: Any, t: Any, tables: Tables) -> tuple[Any, Any]:
        """The tile of queries and the tile of keys. Without a real key they are the tiles in memory, so that nothing is
        copied.
        """
        line, index, real = r + tables.line[t], tables.index[t], tables.real[b]
        if self.by_keys:
            return jnp.where(line < real, index, 0), line
        return line, jnp.minimum(index, jnp.maximum(real - 1, 0))

    def body(self, kernel: Callable[..., Kernel]) -> Callable[..., None]:
        p, schedule = self.tiling, self.schedule
        heads, last = self.x.q.shape[2], len(schedule.line) - 1

        def run(*refs: Any) -> None:
            tables, x = Tables(*refs[:5]), refs[5]
            start, add, finish = kernel(*refs[5:])
            b, g, r, t = (pl.program_id(axis) for axis in range(4))
            line, index, kind = (table[t] for table in tables[:3])
            queries, keys = (index, r + line) if self.by_keys else (r + line, index)

            def tile(cut: bool) -> None:
                for n in range(p.heads):
                    drop = self.dropout(tables.seeds, b * heads + g * p.heads + n, queries, keys)
                    add(n, logits(x, n, cut), drop)

            pl.when((t == 0) | (tables.line[jnp.maximum(t - 1, 0)] != line))(start)
            real = keys < tables.real[b]
            if (schedule.kind == 0).any():
                pl.when(real & (kind == 0))(lambda: tile(cut=False))
            if (schedule.kind > 0).any():
                pl.when(real & (kind > 0))(lambda: tile(cut=True))
            pl.when((t == last) | (tables.line[jnp.minimum(t + 1, last)] != line))(finish)

        return run

    def dropout(self, seeds: Any, matrix: Any, queries: Any, keys: Any) -> Callable[[Array], Array]:
        """A function that drops from a tile of probabilities, or of their gradients."""
        rate, p = self.static.rate, self.tiling
        if rate == 0.0:
            return lambda tile: tile
        row = queries * p.block_q + lax.broadcasted_iota(jnp.int32, (1, p.block_q), 1)
        column = keys * p.block_k + lax.broadcasted_iota(jnp.int32, (p.block_k, 1), 0)
        stays = kept(seeds[matrix], row, column, rate)
        return lambda tile: jnp.where(stays, tile * (1 / (1 - rate)), 0)


def tiling_for(x: Operands, pattern: Pattern) -> Tiling:
    width = max(x.q.shape[-1], x.v.shape[-1]) * x.q.dtype.itemsize
    return tiling_of(pattern, x.q.shape[1], x.k.shape[1], x.q.shape[2], width)


def tokens_last(y: Array, block: int) -> Array:
    """[batch, length, heads, width] to [batch, heads, width, length], filled up with zeros to whole tiles."""
    return jnp.pad(y.transpose(0, 2, 3, 1), [(0, 0)] * 3 + [(0, -y.shape[1] % block)])


def logits(x: Refs, n: int, cut: bool) -> Array:
    """The logits [keys, queries] of head n in a tile. If `cut`, the pattern leaves only a part of the tile."""
    s = dot(x["k"][n], x["q"][n], TN, x["k"].dtype) * scale(x)
    if cut:
        s = jnp.where(x["cut"][...] != 0, s, UNSEEN)
    if "mask" in x:
        s = jnp.where(x["mask"][n % x["mask"].shape[0]].T > 0, s, UNSEEN)
    if "allowed" in x:
        s = jnp.where(x["allowed"][n % x["allowed"].shape[0]] != 0, s, UNSEEN)
    return s


def scale(x: Refs) -> float:
    return x["q"].shape[1] ** -0.5
