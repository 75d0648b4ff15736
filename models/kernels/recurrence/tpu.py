"""The diagonal recurrence on TPUs, by Pallas: one pass over memory, in the order in which it lies there.

A tile is 16 tokens, on sublanes, by channels, on lanes. Its states are those of the tile alone, found by doubling how
far they reach back (Hillis and Steele 1986), and what becomes of the state before it. Time stays where it is in memory:
four multiply-adds a number more cost less than the traffic of bringing it to the front would.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array

from lra.models.kernels.mosaic_tpu import interpreted
from lra.models.kernels.recurrence.operands import Kept, Operands, Static
from lra.models.kernels.recurrence.parts import Parts, joined, parts, plus, times
from lra.models.kernels.recurrence.xla import before, each_way, powers

TILE = 16  # tokens: the sublanes of one register in bfloat16, of two in float32
DOUBLINGS = (1, 2, 4, 8)
BLOCK, LANES = 512, 256  # tokens and channels that are copied at once: ten arrays, at most, take 10 of 16 MiB


def admits(static: Static, x: Operands) -> None:
    """The kernel admits all operands."""


def forward(static: Static, operands: Operands) -> Array:
    """As in xla.py."""
    log_a, x = operands
    kernel = Kernel(states, static.reverses, log_a.ndim == 1, x.shape, static.interpret)
    gates = kernel.gates(log_a)
    return joined(kernel([gates, Operand("token", parts(x))], [("way", jnp.float32)])[0])


def backward(static: Static, kept: Kept, dh: Array) -> tuple[Array, Array]:
    """As in xla.py."""
    log_a, h = kept
    back = tuple(not reverse for reverse in static.reverses)
    kernel = Kernel(gradients, back, log_a.ndim == 1, dh[:, 0].shape, static.interpret)
    operands = [kernel.gates(log_a), Operand("way", parts(h)), Operand("way", parts(dh))]
    real = jnp.float32 if jnp.iscomplexobj(h) else static.dtype
    dx, slopes = kernel(operands, [("way", real), ("sum" if kernel.constant else "way", jnp.float32)])
    d_log_a = joined(slopes)
    if kernel.constant:
        d_log_a = d_log_a.sum((0, 1, 2))
    else:  # each slope belongs to the token before it
        d_log_a = each_way(before, d_log_a, static.reverses).sum(1)
    return d_log_a, joined(tuple(y.astype(jnp.float32).sum(1) for y in dx)).astype(static.dtype)


class Operand(NamedTuple):
    kind: str  # a key of Kernel.kinds
    parts: Parts


class Kernel(NamedTuple):
    """`body` over all blocks of [batch, length, channels], ways and, in the order of each way, time."""

    body: Callable
    reverses: Sequence[bool]
    constant: bool
    shape: tuple[int, ...]
    interpret: bool

    def gates(self, log_a: Array) -> Operand:
        """a of each token; or, if it is constant, [ways, 6, TILE, channels]: a, the factors of what comes from 1, 2, 4
        and 8 tokens before within the tile, and that of what comes from before it.
        """
        if not self.constant:
            return Operand("token", parts(jnp.exp(log_a)))
        power, row = powers(log_a, TILE), jnp.arange(TILE)[:, None]
        within = [jnp.where(row >= by, power[by], 0) for by in DOUBLINGS]
        table = jnp.stack([jnp.broadcast_to(power[1], power[1:].shape), *within, power[1:]])
        return Operand("table", parts(jnp.stack([jnp.flip(table, 1) if r else table for r in self.reverses])))

    def __call__(self, inputs: Sequence[Operand], outputs: Sequence[tuple[str, Any]]) -> list[Parts]:
        """Outputs of these kinds and types, each in as many parts as the inputs have."""
        batch, length, channels = self.shape
        ways, n = len(self.reverses), len(inputs[0].parts)
        block, lanes = min(BLOCK, -(-length // TILE) * TILE), min(LANES, -(-channels // 128) * 128)
        blocks = pl.cdiv(length, block)

        def at(way: Array, t: Array) -> Array:
            return jnp.where(way == int(not self.reverses[0]), blocks - 1 - t, t)

        # the shape, the block, and the index of the block at each step of the grid
        kinds = {
            "token": ((batch, length), (None, block), lambda b, w, c, t: (b, at(w, t), c)),
            "way": ((batch, ways, length), (None, None, block), lambda b, w, c, t: (b, w, at(w, t), c)),
            "table": ((ways, 6, TILE), (None, 6, TILE), lambda b, w, c, t: (w, 0, 0, c)),
            "sum": ((batch, ways, TILE), (None, None, TILE), lambda b, w, c, t: (b, w, 0, c)),
        }

        def spec(kind: str) -> pl.BlockSpec:
            _, tile, index = kinds[kind]
            return pl.BlockSpec((*tile, lanes), index)

        each_input = [(kind, x) for kind, of in inputs for x in of]
        each_output = [output for output in outputs for _ in range(n)]

        def body(*refs: Any) -> None:
            left = length - at(pl.program_id(1), pl.program_id(3)) * block if length % block else None
            operands = [refs[i : i + n] for i in range(0, len(refs), n)]
            for way, reverse in enumerate(self.reverses):
                run = partial(self.body, Time(reverse, block, left), self.constant, *operands)
                pl.when(pl.program_id(1) == way)(run)

        out = pl.pallas_call(
            body,
            grid=(batch, ways, pl.cdiv(channels, lanes), blocks),
            in_specs=[spec(kind) for kind, _ in each_input],
            out_specs=[spec(kind) for kind, _ in each_output],
            out_shape=[jax.ShapeDtypeStruct((*kinds[kind][0], channels), dtype) for kind, dtype in each_output],
            scratch_shapes=[pltpu.VMEM((1, lanes), jnp.float32)] * n,
            compiler_params=pltpu.CompilerParams(  # the interpreter does not extend them under vmap
                dimension_semantics=None if self.interpret else ("parallel", "parallel", "parallel", "arbitrary")
            ),
            interpret=interpreted(self.interpret),
        )(*[x for _, x in each_input])
        return [tuple(out[i : i + n]) for i in range(0, len(out), n)]


class Time(NamedTuple):
    """The order of tokens in a block."""

    reverse: bool
    block: int
    left: Array | None  # tokens up to the end of the sequence; None if no block reaches past the end

    def load(self, refs: Sequence[Any], start: Array) -> Parts:
        """A tile in float32; 0 beyond the end."""
        tile = tuple(ref[pl.ds(start, TILE)].astype(jnp.float32) for ref in refs)
        if self.left is None:
            return tile
        return tuple(jnp.where(start + tokens(x) < self.left, x, 0) for x in tile)

    def before(self, x: Array, by: int = 1) -> Array:
        """The entry of `by` tokens before each token, where that is in the tile."""
        return pltpu.roll(x, TILE - by if self.reverse else by, 0)

    def reaches(self, x: Array, by: int = 1) -> Array:
        """Whether the entry of `by` tokens before is in the tile."""
        return tokens(x) < TILE - by if self.reverse else tokens(x) >= by

    def each_tile(self, tile: Callable[[Array, Any], Any], carry: Any) -> Any:
        count = self.block // TILE
        start = lambda i: pl.multiple_of((count - 1 - i if self.reverse else i) * TILE, TILE)
        return lax.fori_loop(0, count, lambda i, carry: tile(start(i), carry), carry, unroll=2 if count > 1 else 1)

    def factors(self, constant: bool, refs: Sequence[Any], start: Array) -> list[Parts]:
        """a, the factors of entries 1, 2, 4 and 8 tokens before within the tile, and the factor of the state before the
        tile.
        """
        if constant:
            return [tuple(ref[i] for ref in refs) for i in range(6)]
        a = product = self.load(refs, start)
        out = [a]
        for by in DOUBLINGS:
            inside = self.reaches(a[0], by)
            out.append(tuple(jnp.where(inside, y, 0) for y in product))
            longer = times(product, tuple(self.before(y, by) for y in product))
            product = tuple(jnp.where(inside, y, z) for y, z in zip(longer, product))
        return [*out, product]

    def scan(self, x: Parts, factors: Sequence[Parts], carry: Parts) -> tuple[Parts, Parts]:
        """The states of a tile after the state `carry`, and the last of them."""
        for by, factor in zip(DOUBLINGS, factors[1:]):
            x = plus(x, times(factor, tuple(self.before(y, by) for y in x)))
        x = plus(x, times(factors[-1], carry))
        return x, tuple(y[:1] if self.reverse else y[-1:] for y in x)


def tokens(x: Array) -> Array:
    return lax.broadcasted_iota(jnp.int32, x.shape, 0)


def start_with_zeros(refs: Sequence[Any]) -> None:
    @pl.when(pl.program_id(3) == 0)
    def _() -> None:
        for ref in refs:
            ref[...] = jnp.zeros_like(ref)


def store(refs: Sequence[Any], rows: Any, x: Parts) -> None:
    for ref, y in zip(refs, x):
        ref[rows] = y.astype(ref.dtype)


def states(time: Time, constant: bool, a_refs: Any, x_refs: Any, h_refs: Any, carry_refs: Any) -> None:
    start_with_zeros(carry_refs)

    def tile(start: Array, carry: Parts) -> Parts:
        h, carry = time.scan(time.load(x_refs, start), time.factors(constant, a_refs, start), carry)
        store(h_refs, pl.ds(start, TILE), h)
        return carry

    carry = time.each_tile(tile, tuple(ref[...] for ref in carry_refs))
    store(carry_refs, ..., carry)


def gradients(
    time: Time, constant: bool, a_refs: Any, h_refs: Any, dh_refs: Any, dx_refs: Any, slope_refs: Any, carry_refs: Any
) -> None:
    """With q of xla.py, dx_i = dh_i + q_{i+1}, and the gradient of log_a_{i+1} is h_i q_{i+1}; its sum if constant."""
    start_with_zeros(carry_refs)
    if constant:
        start_with_zeros(slope_refs)

    def tile(start: Array, carries: tuple[Parts, Parts]) -> tuple[Parts, Parts]:
        (carry, total), rows = carries, pl.ds(start, TILE)
        h, dh, factors = time.load(h_refs, start), time.load(dh_refs, start), time.factors(constant, a_refs, start)
        q, last = time.scan(times(factors[0], dh), factors, carry)
        q = tuple(jnp.where(time.reaches(y), time.before(y), z) for y, z in zip(q, carry))
        store(dx_refs, rows, plus(dh, q))
        if constant:
            return last, plus(total, times(h, q))
        store(slope_refs, rows, times(h, q))
        return last, total

    zeros = tuple(jnp.zeros(ref.shape, jnp.float32) for ref in slope_refs) if constant else ()
    carry, total = time.each_tile(tile, (tuple(ref[...] for ref in carry_refs), zeros))
    store(carry_refs, ..., carry)
    for ref, y in zip(slope_refs, total):
        ref[...] += y
