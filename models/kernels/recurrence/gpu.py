"""The diagonal recurrence on Hopper, by Pallas's Mosaic GPU: a thread for each channel, tokens one after the other.

A block of threads is a warpgroup and has 128 neighbouring channels of one example, in one of the ways. Copies through
the tensor memory accelerator bring the tokens ahead of it and take its results away. Time is not divided: a device of
132 multiprocessors is full from some 17,000 channels times examples on, and proportionally slow below.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array

from lra.models.kernels.blocks import pad_to_multiple
from lra.models.kernels.mosaic_gpu import LANE, Registers, interpreted
from lra.models.kernels.recurrence.operands import Kept, Operands, Static
from lra.models.kernels.recurrence.parts import Parts, joined, parts, plus, times
from lra.models.kernels.recurrence.xla import before, each_way

CHANNELS = 128  # channels of a block of threads
LAYOUT = plgpu.Layout.WG_STRIDED((CHANNELS,), 1)  # one channel a thread
ALIGNED = 8  # channels: copies take rows of whole 16 bytes
AHEAD, BEHIND = 4, 2  # slots in shared memory for tokens that come and for those that go
READ = 8  # tokens that are read before the first of them is used
TOKENS = 64  # tokens of a slot, at most
SMEM = 100 * 1024  # bytes of shared memory, so that a multiprocessor has room for two blocks of threads


def admits(static: Static, x: Operands) -> None:
    """The kernel admits all operands."""


def forward(static: Static, operands: Operands) -> Array:
    """As in xla.py."""
    log_a, x = operands
    kernel = Kernel(states, static.reverses, log_a.ndim == 1, x.shape, static.interpret)
    (h,), _ = kernel(log_a, [parts(x)], [jnp.float32])
    return joined(h)


def backward(static: Static, kept: Kept, dh: Array) -> tuple[Array, Array]:
    """As in xla.py."""
    log_a, h = kept
    back = tuple(not reverse for reverse in static.reverses)
    kernel = Kernel(gradients, back, log_a.ndim == 1, dh[:, 0].shape, static.interpret)
    real = jnp.float32 if jnp.iscomplexobj(h) else static.dtype
    if kernel.constant:
        (dx,), sums = kernel(log_a, [parts(h), parts(dh)], [real], sums=True)
        d_log_a = joined(sums).sum((0, 1))
    else:
        (dx, slopes), _ = kernel(log_a, [parts(h), parts(dh)], [real, jnp.float32])
        d_log_a = each_way(before, joined(slopes), static.reverses).sum(1)  # each slope belongs to the token before it
    return d_log_a, joined(tuple(y.astype(jnp.float32).sum(1) for y in dx)).astype(static.dtype)


class Kernel(NamedTuple):
    """`step` for each token of [batch, length, channels], in the order of each way."""

    step: Callable
    reverses: Sequence[bool]
    constant: bool
    shape: tuple[int, ...]
    interpret: bool

    def __call__(
        self, log_a: Array, inputs: Sequence[Parts], dtypes: Sequence[Any], sums: bool = False
    ) -> tuple[list[Parts], Parts]:
        """Outputs of `dtypes`, [batch, ways, length, channels]; and sums over the steps, [batch, ways, channels]."""
        (batch, length, channels), ways, n = self.shape, len(self.reverses), len(inputs[0])
        gates: Parts = ()
        if self.constant:  # a - 1: near a = 1 it has digits that a has lost
            gates = tuple(pad_to_multiple(y, CHANNELS, -1) for y in parts(jnp.expm1(log_a)))
        else:
            inputs = [parts(jnp.exp(log_a)), *inputs]
        coming, going = [y.dtype for x in inputs for y in x], [jnp.dtype(dtype) for dtype in dtypes for _ in range(n)]
        tokens = tokens_of_slot(length, coming, going)
        # copies read zeros beyond the end and write nothing there, but interpreted ones do not
        rows, columns = (tokens, CHANNELS) if self.interpret else (1, ALIGNED)
        fit = lambda x: pad_to_multiple(pad_to_multiple(x, rows, -2), columns, -1)
        sources = tuple(fit(y) for x in inputs for y in x)
        flowing = (batch, ways, *sources[0].shape[-2:])
        across = pl.cdiv(channels, CHANNELS)
        targets, totals = plgpu.kernel(
            partial(self.body, n, tokens),
            out_type=(
                tuple(jax.ShapeDtypeStruct(flowing, dtype) for dtype in going),
                (jax.ShapeDtypeStruct((batch, ways, across * CHANNELS), jnp.float32),) * (n * sums),
            ),
            grid=(ways, across, batch),  # CUDA starts many blocks along the last axis only
            grid_names=("way", "column", "example"),
            scratch_types=dict(
                coming=[plgpu.SMEM((AHEAD, tokens, CHANNELS), dtype) for dtype in coming],
                going=[plgpu.SMEM((BEHIND, tokens, CHANNELS), dtype) for dtype in going],
                arrived=plgpu.Barrier(num_arrivals=len(coming), num_barriers=AHEAD),
            ),
            compiler_params=plgpu.CompilerParams(lowering_semantics=LANE),
            interpret=interpreted(self.interpret),
        )(gates, sources)
        targets = [y[..., :length, :channels] for y in targets]
        return grouped(targets, n), tuple(y[..., :channels] for y in totals)

    def body(
        self, n: int, tokens: int, gate_refs: Any, sources: Any, targets: Any, sum_refs: Any,
        *, coming: Any, going: Any, arrived: Any,
    ) -> None:  # fmt: skip
        """A block of threads. `coming` and `going` are slots for `tokens` tokens of `sources` and `targets`."""
        example, way, column = (lax.axis_index(name) for name in ("example", "way", "column"))
        registers, blocks = Registers(self.interpret), pl.cdiv(self.shape[1], tokens)
        reverse = lax.rem(way + int(self.reverses[0]), 2)
        in_order = lambda i, count: i + reverse * (count - 1 - 2 * i)
        channels = pl.ds(column * CHANNELS, CHANNELS)
        zeros = tuple(registers.full((CHANNELS,), 0.0, LAYOUT) for _ in range(n))
        gate = tuple(registers.load(ref.at[channels], LAYOUT) for ref in gate_refs)

        def place(ref: Any, k: Array) -> Any:
            rows = pl.ds(in_order(k, blocks) * tokens, tokens)
            return ref.at[example, rows, channels] if len(ref.shape) == 3 else ref.at[example, way, rows, channels]

        def fetch(k: Array) -> None:
            slot = lax.rem(k, jnp.int32(AHEAD))
            for source, to in zip(sources, coming):
                plgpu.copy_gmem_to_smem(place(source, k), to.at[slot], arrived.at[slot])

        def block(k: Array, carry: tuple[Parts, Parts]) -> tuple[Parts, Parts]:
            slot, free = lax.rem(k, jnp.int32(AHEAD)), lax.rem(k, jnp.int32(BEHIND))
            plgpu.barrier_wait(arrived.at[slot])
            plgpu.wait_smem_to_gmem(len(going) * (BEHIND - 1), wait_read_only=True)

            def some(i: Array, carry: tuple[Parts, Parts]) -> tuple[Parts, Parts]:
                state, total = carry
                rows = [in_order(i * READ + j, tokens) for j in range(READ)]
                read = [[registers.load(x.at[slot, row], LAYOUT).astype(jnp.float32) for x in coming] for row in rows]
                for row, numbers in zip(rows, read):
                    x = grouped(numbers, n)
                    state, out, added = self.step(self.constant, gate or x.pop(0), state, *x)
                    total = plus(total, added) if sum_refs else total
                    for to, y in zip(going, [y for x in out for y in x]):
                        to.at[free, row][...] = y.astype(to.dtype)
                return state, total

            state, total = lax.fori_loop(0, tokens // READ, some, (carry[0], zeros))
            plgpu.commit_smem()
            for y, target in zip(going, targets):
                plgpu.copy_smem_to_gmem(y.at[free], place(target, k))
            pl.when(k + AHEAD < blocks)(lambda: fetch(k + AHEAD))
            return state, plus(carry[1], total)  # summed in two stages: a long sum loses digits

        for k in range(min(AHEAD, blocks)):
            fetch(jnp.int32(k))
        _, total = lax.fori_loop(0, blocks, block, (zeros, zeros))
        for ref, y in zip(sum_refs, total):
            ref.at[example, way, channels][...] = y
        plgpu.wait_smem_to_gmem(0)


def grouped(x: Sequence[Array], n: int) -> list[Parts]:
    return [tuple(x[i : i + n]) for i in range(0, len(x), n)]


def tokens_of_slot(length: int, coming: Sequence[Any], going: Sequence[Any]) -> int:
    size = lambda dtypes: sum(dtype.itemsize for dtype in dtypes)
    row = CHANNELS * (AHEAD * size(coming) + BEHIND * size(going))
    tokens = READ
    while tokens < min(length, TOKENS) and 2 * tokens * row <= SMEM:
        tokens *= 2
    return tokens


def states(constant: bool, gate: Parts, state: Parts, x: Parts) -> tuple[Parts, list[Parts], Parts]:
    h = plus(times(gate, state), x)
    h = plus(state, h) if constant else h
    return h, [h], ()


def gradients(constant: bool, gate: Parts, state: Parts, h: Parts, dh: Parts) -> tuple[Parts, list[Parts], Parts]:
    """With q of xla.py as the state, dx_i = dh_i + q_{i+1}, and the gradient of log_a_{i+1} is h_i q_{i+1}."""
    dx, slope = plus(dh, state), times(h, state)
    q = plus(dx, times(gate, dx)) if constant else times(gate, dx)
    return q, [dx] if constant else [dx, slope], slope
