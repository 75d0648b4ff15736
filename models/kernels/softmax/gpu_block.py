"""A block of threads at work in a Hopper kernel of softmax attention: one warpgroup copies, the others compute."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array, Float, Int, Int8

from lra.models.kernels.mosaic_gpu import LANE, LAYOUT, Registers, columns, interpreted, swizzled
from lra.models.kernels.softmax.dropout import kept
from lra.models.kernels.softmax.gpu_walk import ROWS, Size, Walk

HIDDEN = -1e30  # logit of a pair that is not seen
FLOOR = -1e20  # no maximum is lower, so that exp(HIDDEN - maximum) is 0 in a row which sees nothing
ROW, COLUMN = LAYOUT.reduce(1), LAYOUT.reduce(0)  # layouts of one number for each row, for each column


class Inputs(NamedTuple):
    """Operands that are padded: lengths to whole tiles, widths of heads to one of WIDTHS."""

    q: Float[Array, "batch queries heads head_dim"]
    k: Float[Array, "batch keys heads head_dim"]
    v: Float[Array, "batch keys heads value_dim"]
    mask: Float[Array, "batch #heads keys"] | None  # added to the logits: 0 or HIDDEN
    allowed: Int8[Array, "batch #heads rows across"] | None  # like the kernel's logits, which may be transposed
    seeds: Int[Array, "batch heads"] | None


class Setting(NamedTuple):
    size: Size
    scale: float
    rate: float  # of dropout
    interpret: bool


class Block:
    """One line of tiles of logits, of one head of one example. A warpgroup has `rows` of the line."""

    def __init__(self, setting: Setting, x: Inputs, walk: Walk, ready: Any, free: Any):
        self.setting, self.x, self.walk, self.ready, self.free = setting, x, walk, ready, free
        self.registers = Registers(setting.interpret)
        self.head, place, self.group = map(lax.axis_index, ("head", "line_of_example", "group"))
        lines = jnp.int32(walk.counts.shape[1])
        self.example, self.line = lax.div(place, lines), lax.rem(place, lines)
        self.place = self.group if setting.size.groups > 1 else 0  # a constant takes no registers
        self.start = self.line * setting.size.rows + self.place * ROWS
        self.count = walk.counts[self.example, self.line]
        self.tile = ROWS, setting.size.across
        self.rows = pl.ds(self.start, ROWS)

    def run(self, copy: Callable[[Any, Any, Any], None], compute: Callable[[], None]) -> None:
        """Runs copy(tokens, slot, barrier), which fetches what a tile needs, in one warpgroup, and compute() in each
        other.
        """
        groups = self.setting.size.groups

        @pl.when(self.group == groups)
        def _() -> None:
            if groups == 2:  # three warpgroups begin with 168 registers a thread
                plgpu.set_max_registers(40, action="decrease")
            self.feed(copy)

        @pl.when(self.group < groups)
        def _() -> None:
            if groups == 2:
                plgpu.set_max_registers(232, action="increase")
            compute()

    def feed(self, copy: Callable[[Any, Any, Any], None]) -> None:
        """Fills the slots of the ring. A slot is filled again once its last reader has left it."""
        steps = self.setting.size.steps

        @pl.loop(0, self.count)
        def _(t: Any) -> None:
            slot = lax.rem(t, jnp.int32(steps))

            @pl.when(t >= steps)
            def _() -> None:
                plgpu.barrier_wait(self.free.at[slot])

            copy(pl.ds(self.first(t), self.tile[1]), slot, self.ready.at[slot])

        @pl.loop(jnp.maximum(self.count - steps, 0), self.count)
        def _(t: Any) -> None:  # waits for every arrival that is left
            plgpu.barrier_wait(self.free.at[lax.rem(t, jnp.int32(steps))])

    def over_tiles(self, step: Callable[[Any, Any, Any], Any], carry: Any) -> Any:
        """carry = step(t, slot, carry) for each tile t of the line, which is then in that slot of the ring."""

        def body(t: Any, carry: Any) -> Any:
            slot = lax.rem(t, jnp.int32(self.setting.size.steps))
            plgpu.barrier_wait(self.ready.at[slot])
            carry = step(t, slot, carry)
            plgpu.barrier_arrive(self.free.at[slot])
            return carry

        return lax.fori_loop(0, self.count, body, carry)

    def store(self, x: jax.Array, buffer: Any, out: Any) -> None:
        """Writes this warpgroup's tokens to `out`, by way of shared memory: registers do not hold them in order."""
        mine = buffer.at[self.place]
        mine[...] = x.astype(out.dtype)
        plgpu.commit_smem()
        plgpu.copy_smem_to_gmem(mine, self.tokens(out, self.rows))
        plgpu.wait_smem_to_gmem(0)

    def first(self, t: Any) -> Any:
        """The first column of tile t."""
        return self.walk.tile(self.line, t) * self.tile[1]

    def copy_keys(self, k: Any, v: Any, mask: Any) -> Callable[[Any, Any, Any], None]:
        """A `copy` for `run` that fills the rings which `keys_in_rings` has made."""

        def copy(keys: Any, slot: Any, barrier: Any) -> None:
            plgpu.copy_gmem_to_smem(self.tokens(self.x.k, keys), k.at[slot], barrier)
            plgpu.copy_gmem_to_smem(self.tokens(self.x.v, keys), v.at[slot], barrier)
            if self.x.mask is not None:
                plgpu.copy_gmem_to_smem(self.of_head(self.x.mask, keys), mask.at[slot], barrier)

        return copy

    def logits(self, t: Any, q: Any, k: Any, mask: Any) -> jax.Array:
        """The logits of a tile [queries, keys], before they are scaled. `mask` is the mask of its keys, or None."""
        s = self.registers.dot(q, k, self.tile, b_t=True)
        if mask is not None:
            s = s + columns(self.registers.load(mask, COLUMN), self.tile)
        return self.seen(t, s)

    def tokens(self, x: Any, span: Any) -> Any:
        """This head's tokens in `span` of x, [batch, length, heads, width]."""
        return x.at[self.example, span, self.head]

    def of_head(self, x: Any, *spans: Any) -> Any:
        """This head's part of x, [batch, heads, ...], where all heads may share one."""
        return x.at[self.example, self.head if x.shape[1] > 1 else 0, *spans]

    def seen(self, t: Any, logits: jax.Array) -> jax.Array:
        """The logits, HIDDEN where the pattern or `allowed` hides them. The kernel applies the mask itself."""
        masks = self.walk.masks
        if self.walk.kind is not None and masks is not None:
            kind = self.walk.kind[self.walk.starts[self.line] + t]
            mine = pl.ds(self.place * ROWS, ROWS)
            some = lambda x: self.where(masks.at[kind - 1, mine], x)
            logits = lax.cond(kind > 0, some, lambda x: x, logits)
        if self.x.allowed is not None:
            pairs = self.of_head(self.x.allowed, self.rows, pl.ds(self.first(t), self.tile[1]))
            logits = self.where(pairs, logits)
        return logits

    def where(self, seen: Any, logits: jax.Array) -> jax.Array:
        return jnp.where(self.registers.load(seen, optimized=False) != 0, logits, HIDDEN)

    def kept(self, t: Any, queries: int = 0) -> jax.Array:
        """Which probabilities of tile t dropout keeps. `queries` is the axis of the queries."""
        at = [self.registers.iota(self.tile, 0) + self.start, self.registers.iota(self.tile, 1) + self.first(t)]
        assert self.x.seeds is not None
        return kept(self.x.seeds[self.example, self.head], at[queries], at[1 - queries], self.setting.rate)


def ring(size: Size, arrivals: int) -> dict[str, Any]:
    """The barriers of `size.steps` slots, each of which is filled by `arrivals` copies."""
    return dict(
        ready=plgpu.Barrier(num_arrivals=arrivals, num_barriers=size.steps),
        free=plgpu.Barrier(num_arrivals=size.groups, num_barriers=size.steps),
    )


def keys_in_rings(x: Inputs, size: Size) -> dict[str, Any]:
    """Shared memory for tiles of keys on their way, and its barriers."""
    return dict(
        k=shared(size, size.steps, size.across, x.k.shape[-1], x.k.dtype),
        v=shared(size, size.steps, size.across, x.v.shape[-1], x.v.dtype),
        mask=None if x.mask is None else plgpu.SMEM((size.steps, size.across), jnp.float32),
        **ring(size, 2 if x.mask is None else 3),
    )


def shared(size: Size, count: int, length: int, width: int, dtype: Any) -> Any:
    """Shared memory for `count` tiles of `length` tokens. It is swizzled no wider than a product over `size.across` can
    take.
    """
    return swizzled((count, length, width), dtype, min(128, 2 * size.across, 2 * width))


def launch(kernel: Callable, setting: Setting, like: Array, out: Any, scratch: dict[str, Any], operands: Any) -> Any:
    """Runs the kernel for each line of `like`, [batch, length, heads, width]. Lines of one head run together and share
    the cache. Lines of all examples are the last axis: CUDA starts 65,535 blocks along the others, at most.
    """
    batch, length, heads, _ = like.shape
    return plgpu.kernel(
        kernel,
        out_type=out,
        scratch_types=scratch,
        grid=(heads, batch * (length // setting.size.rows)),
        grid_names=("head", "line_of_example"),
        num_threads=setting.size.groups + 1,
        thread_name="group",
        interpret=interpreted(setting.interpret),
        compiler_params=plgpu.CompilerParams(approx_math=True, lowering_semantics=LANE),
    )(*operands)
