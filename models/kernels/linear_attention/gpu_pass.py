"""One pass of linear attention on Hopper: what a block of threads copies, and when.

A block takes the chunks of one head one after another, for some columns of the values: one warpgroup, which has the
next chunk copied while it computes.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array

from lra.models.kernels.blocks import into_blocks, pad_to_multiple
from lra.models.kernels.linear_attention.gpu_chunk import (
    CHUNK,
    PIECE,
    State,
    Tiles,
    Way,
    by_key_channel,
    by_token,
    by_value_channel,
    keep,
    meet_states,
    split_decays,
)
from lra.models.kernels.linear_attention.xla import LEAST
from lra.models.kernels.mosaic_gpu import LANE, Registers, interpreted, swizzled

MAX_DECAYED = 2  # pieces of keys with decays of their own: shared memory has no room for more
BLOCKS = 132  # blocks that run at the same time, one on each of Hopper's multiprocessors


def run(
    q: Array,
    k: Array,
    v: Array,
    log_decay: Array | None,
    by: Callable,
    way: Way,
    *,
    dtype: Any = None,
    keep_states: bool = False,
    other_states: Array | None = None,
    first: int | None = None,
    interpret: bool = False,
) -> tuple[Array, Any]:
    """sum_j w_ij (q_i . k_j) v_j over the tokens j that i sees, of `dtype`: [batch, length, heads, value_dim].

    Args:
      by: the case of `gpu_chunk`, by what has a decay.
      keep_states: also the state after each chunk, in bfloat16.
      other_states: those of a pass the other way; also their inner products with this one's states before each chunk:
        [batch, chunks, heads, value_dim].
      first: where the keys' channels begin of which the sum is taken, in pieces; None is of all channels.
    """
    batch, length, heads, key_dim = q.shape
    value_dim = v.shape[-1]
    pieces, chunks = -(-key_dim // PIECE), -(-length // CHUNK)
    if by is by_key_channel and pieces > MAX_DECAYED and first is None:  # the channels' sum has two parts
        part = partial(run, q, k, v, log_decay, by, way, dtype=jnp.float32, interpret=interpret)
        few, rest = (part(first=p)[0] for p in (0, MAX_DECAYED))
        return (few + rest).astype(dtype or v.dtype), None
    if first is not None:
        pieces = min(MAX_DECAYED, pieces - first)
    width, blocks = columns_of_blocks(value_dim, most_columns(pieces, by), batch * heads)
    tiles = tiles_of(pieces, width, by, log_decay, v.dtype, dtype or v.dtype, other_states)

    inputs = {name: fit(x, getattr(tiles, name), interpret) for name, x in (("q", q), ("k", k), ("v", v))}
    shape = (*inputs["v"].shape[:3], whole(value_dim, tiles.out, interpret))
    outputs = {"out": jax.ShapeDtypeStruct(shape, dtype or v.dtype)}
    if log_decay is not None and by is by_token:
        inputs["decay"] = sums_within_chunks(log_decay, way.reverse)
    elif log_decay is not None:
        decay = log_decay.astype(jnp.float32)
        if decay.shape[1] == 1:
            decay = jnp.broadcast_to(decay, (len(decay), CHUNK, *decay.shape[2:]))
        inputs["decay"] = fit(decay, tiles.decay, interpret)
    if keep_states:
        shape = (batch, chunks, heads, pieces * PIECE, blocks * width)
        outputs["states"] = jax.ShapeDtypeStruct(shape, v.dtype)
    if other_states is not None:
        inputs["states"] = other_states
        outputs["products"] = jax.ShapeDtypeStruct((batch, chunks, heads, blocks * width), jnp.float32)

    def linear_attention(*refs: Any) -> None:
        given, made = dict(zip(inputs, refs)), dict(zip(outputs, refs[len(inputs) :]))
        Block(by, way, chunks, Registers(interpret), refs[-1], given, made, first or 0).walk()

    out, *more = plgpu.kernel(
        linear_attention,
        out_type=list(outputs.values()),
        scratch_types=[tiles],
        grid=(blocks, heads, batch),
        grid_names=("columns", "head", "batch"),
        interpret=interpreted(interpret),
        compiler_params=plgpu.CompilerParams(approx_math=True, lowering_semantics=LANE),
    )(*inputs.values())
    out = out[:, :length, :, :value_dim]
    if other_states is not None:
        return out, more[0][..., :value_dim]
    return out, more[0] if more else None


class Block(NamedTuple):
    """What a block of threads does. Chunk n is the n-th chunk that it comes to."""

    by: Callable
    way: Way
    chunks: int
    r: Registers
    tiles: Tiles
    given: dict[str, Any]  # global memory
    made: dict[str, Any]
    first: int  # piece of the keys

    def walk(self) -> None:
        t = self.tiles
        self.fetch(jnp.int32(0))
        pieces, _, width = t.state.shape
        state: State = tuple(self.r.full((PIECE, width), 0.0) for _ in range(pieces))
        for p, zeros in enumerate(state):
            keep(t, p, zeros)
        if t.kept is not None:
            state = ()
            for p in range(t.decay.shape[0]):
                self.fetch_decay(jnp.int32(0), p)
        lax.fori_loop(0, self.chunks, self.step, state)
        plgpu.wait_smem_to_gmem(0)

    def step(self, n: jax.Array, state: State) -> State:
        pl.when(n + 1 < self.chunks)(lambda: self.fetch(n + 1))

        def split(p: jax.Array | int) -> None:
            plgpu.barrier_wait(self.tiles.decay_arrived.at[p])
            split_decays(self.r, self.tiles, p)
            pl.when(n + 1 < self.chunks)(lambda: self.fetch_decay(n + 1, p))

        t = self.tiles.slot(lax.rem(n, 2))
        plgpu.barrier_wait(t.arrived.at[lax.rem(n, 2)])
        if t.met is not None:
            meet_states(self.r, t, state)
        out, state = self.by(self.r, self.way, t, state, split)
        t.out[...] = out.astype(t.out.dtype)
        plgpu.commit_smem()
        self.store(n)
        return state

    def fetch(self, n: jax.Array) -> None:
        slot = lax.rem(n, 2)
        t, (b, h, own), get = self.tiles.slot(slot), self.place, plgpu.copy_gmem_to_smem
        arrived = t.arrived.at[slot]
        for p in range(t.k.shape[0]):
            get(self.given["q"].at[b, self.tokens(n), h, self.piece(p)], t.q.at[p], arrived)
            get(self.given["k"].at[b, self.tokens(n), h, self.piece(p)], t.k.at[p], arrived)
            if t.met is not None:
                get(self.given["states"].at[b, self.chunk(n), h, rows_of(p), own], t.met.at[p], arrived)
        get(self.given["v"].at[b, self.tokens(n), h, own], t.v, arrived)
        if t.sums is not None:
            row, tokens = self.decayed(n, axis=2)
            get(self.given["decay"].at[row, h, tokens], t.sums, arrived)

    def fetch_decay(self, n: jax.Array, p: jax.Array | int) -> None:
        t, (_, h, own) = self.tiles, self.place
        row, tokens = self.decayed(n, axis=1)
        channels = own if self.by is by_value_channel else self.piece(p)
        decay = self.given["decay"].at[row, tokens, h, channels]
        plgpu.copy_gmem_to_smem(decay, t.decay.at[p], t.decay_arrived.at[p])

    def store(self, n: jax.Array) -> None:
        t, (b, h, own), put = self.tiles, self.place, plgpu.copy_smem_to_gmem
        put(t.out, self.made["out"].at[b, self.tokens(n), h, own])
        if "states" in self.made:
            for p in range(t.state.shape[0]):
                put(t.state.at[p], self.made["states"].at[b, self.chunk(n), h, rows_of(p), own])
        if "products" in self.made:
            put(t.products, self.made["products"].at[b, self.chunk(n), h, own])

    @property
    def place(self) -> tuple[jax.Array, jax.Array, Any]:
        width = self.tiles.v.shape[-1]
        return lax.axis_index("batch"), lax.axis_index("head"), pl.ds(lax.axis_index("columns") * width, width)

    def chunk(self, n: jax.Array) -> jax.Array:
        return self.chunks - 1 - n if self.way.backwards else n

    def tokens(self, n: jax.Array) -> Any:
        return pl.ds(self.chunk(n) * CHUNK, CHUNK)

    def decayed(self, n: jax.Array, axis: int) -> tuple[Any, Any]:
        """The example and the tokens of decays. Decays that are one for all examples, or for all tokens, are in memory
        once.
        """
        b, shape = self.place[0], self.given["decay"].shape
        return b if shape[0] > 1 else 0, pl.ds(self.chunk(n) * CHUNK * (shape[axis] > CHUNK), CHUNK)

    def piece(self, p: jax.Array | int) -> Any:
        """The channels of piece p of q, k and decays. The start is not static, so that there may be fewer channels than
        a piece has.
        """
        return pl.ds(lax.axis_index("head") * 0 + (self.first + p) * PIECE, PIECE)


def rows_of(p: int) -> Any:
    return pl.ds(p * PIECE, PIECE)


def tiles_of(
    pieces: int, width: int, by: Callable, log_decay: Array | None, dtype: Any, out_dtype: Any, other_states: Any
) -> Tiles:
    """The types of a block's shared memory."""
    swizzle = next(s for s in (128, 64, 32) if width * jnp.dtype(dtype).itemsize % s == 0)
    operand = lambda *shape: swizzled(shape, dtype, swizzle)  # the operands of one product must have one swizzle
    per_token = log_decay is not None and by is by_token
    copies = 2 * pieces + 1 + per_token + (pieces if other_states is not None else 0)
    tiles = Tiles(
        q=operand(2, pieces, CHUNK, PIECE),
        k=operand(2, pieces, CHUNK, PIECE),
        v=operand(2, CHUNK, width),
        out=swizzled((CHUNK, width), out_dtype),
        state=operand(pieces, PIECE, width),
        arrived=plgpu.Barrier(num_arrivals=copies, num_barriers=2),
    )
    if other_states is not None:
        tiles = tiles._replace(met=operand(2, pieces, PIECE, width), products=plgpu.SMEM((width,), jnp.float32))
    if per_token:
        return tiles._replace(sums=plgpu.SMEM((2, CHUNK), jnp.float32), scaled=operand(CHUNK, width))
    if log_decay is None:
        return tiles
    parts, channels = (pieces, PIECE) if by is by_key_channel else (1, width)
    return tiles._replace(
        scaled=operand(CHUNK, channels),
        kept=swizzled((pieces, PIECE, width), jnp.float32),
        decay=swizzled((parts, CHUNK, channels), jnp.float32),
        high=operand(parts, CHUNK, channels),
        low=operand(parts, CHUNK, channels),
        total=plgpu.SMEM((parts, channels), jnp.float32),
        decay_arrived=plgpu.Barrier(num_arrivals=1, num_barriers=parts),
    )


def most_columns(pieces: int, by: Callable) -> int:
    """The number of columns of v for which a block has room in registers and shared memory."""
    most = 32 if pieces > 2 else 64
    return most // 2 if by is by_value_channel else most


def columns_of_blocks(value_dim: int, most: int, heads: int) -> tuple[int, int]:
    """The number of columns of v that a block takes, and the number of blocks that share a head, so that all
    multiprocessors have work.
    """
    blocks = -(-value_dim // most)
    while heads * blocks < BLOCKS and value_dim > 16 * blocks:
        blocks += 1
    width = -(-value_dim // (16 * blocks)) * 16
    return width, -(-value_dim // width)


def sums_within_chunks(log_decay: Array, reverse: bool) -> Array:
    """Sums of log-decays within chunks, [batch, heads, length]; those of one chunk if all chunks are the same."""
    x = jnp.maximum(log_decay[..., 0].astype(jnp.float32), LEAST)  # so that sums keep the digits of the others
    if x.shape[1] == 1:
        x = jnp.broadcast_to(x, (len(x), CHUNK, x.shape[2]))
    sums = lax.cumsum(into_blocks(x, CHUNK), axis=2, reverse=reverse)
    return sums.reshape(len(x), -1, x.shape[2]).swapaxes(1, 2)


def fit(x: Array, tile: Any, interpret: bool) -> Array:
    """x, [batch, length, heads, channels], padded so that copies can cut it into such tiles of a chunk."""
    channels = whole(x.shape[3], tile, interpret)
    return pad_to_multiple(pad_to_multiple(x, CHUNK if interpret else 8), channels, axis=-1)


def whole(channels: int, tile: Any, interpret: bool) -> int:
    """The least number of channels that copies take. Copies fill with zeros what is beyond the end, and cut off what
    they write there; the interpreter of JAX 0.10 does not.
    """
    swizzled = tile.transforms[0].tiling[-1]
    step = tile.shape[-1] if interpret else 8 if channels <= swizzled else swizzled
    return -(-channels // step) * step
