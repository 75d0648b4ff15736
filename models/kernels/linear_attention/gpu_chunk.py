"""One chunk of 64 tokens on Hopper, in one warpgroup: its outputs from the state before it, and the next state.

Three cases: a token's decay is one number, one for each channel of the keys (decays of rows of the state), or one for
each channel of the values (of columns). Keys and state come in pieces of 64 channels.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.pallas import mosaic_gpu as plgpu

from lra.models.kernels.linear_attention.xla import LEAST
from lra.models.kernels.mosaic_gpu import LAYOUT, Registers, columns, rows

CHUNK = 64
PIECE = 64  # channels of the keys: the rows that tensor cores take at least
LEVELS = CHUNK.bit_length() - 1
SCORES = (CHUNK, CHUNK)

State = tuple[jax.Array, ...]  # [PIECE, width] each


class Way(NamedTuple):
    """The direction of a pass. A decay acts as the state comes in to a token: from the token before it or, if
    `reverse`, from the one after it.

    If `adjoint`, a token sees the tokens that would otherwise see it, with the same decays between them.
    """

    reverse: bool = False
    adjoint: bool = False

    @property
    def backwards(self) -> bool:
        """The tokens seen come later."""
        return self.reverse != self.adjoint

    def sees(self, i: jax.Array, j: jax.Array) -> jax.Array:
        return j >= i if self.backwards else j <= i


class Tiles(NamedTuple):
    """Shared memory of one block. q, k and v have two slots, so that copies run ahead."""

    q: Any  # [2, pieces, CHUNK, PIECE]
    k: Any  # [2, pieces, CHUNK, PIECE]
    v: Any  # [2, CHUNK, width]
    out: Any  # [CHUNK, width]
    state: Any  # [pieces, PIECE, width], the state before the chunk, as the tensor cores read it
    arrived: Any  # barriers, one a slot
    scaled: Any = None  # [CHUNK, width or PIECE], v or k with decays
    sums: Any = None  # [2, CHUNK], sums of the log-decays of tokens within the chunk
    met: Any = None  # [2, pieces, PIECE, width], states of a pass the other way
    products: Any = None  # [width], their inner products with this pass's
    # the fields from here on are for decays of channels
    kept: Any = None  # [pieces, PIECE, width], the state in float32: decays take the registers
    decay: Any = None  # [pieces, CHUNK, PIECE] of keys or [1, CHUNK, width] of values, log-decays
    high: Any = None  # log-decays rounded to bfloat16
    low: Any = None  # the rest, which `high` leaves, in bfloat16
    total: Any = None  # [pieces, PIECE] or [1, width], their sums over the chunk
    decay_arrived: Any = None  # barriers, one a piece

    def slot(self, n: jax.Array) -> "Tiles":
        slots = self._replace(q=self.q.at[n], k=self.k.at[n], v=self.v.at[n])
        of = {"sums": self.sums, "met": self.met}
        return slots._replace(**{name: ref.at[n] for name, ref in of.items() if ref is not None})


def by_token(r: Registers, way: Way, t: Tiles, state: State, _: Any) -> tuple[jax.Array, State]:
    """No decay, or one for all channels. The state stays in registers."""
    dtype, shape = t.v.dtype, t.v.shape
    values = t.v
    out, scores = products(r, t)
    if t.sums is not None:
        sums, total = r.load(t.sums, LAYOUT.reduce(1)), t.sums[0 if way.reverse else CHUNK - 1]
        between = rows(sums, SCORES) - columns(r.load(t.sums, LAYOUT.reduce(0)), SCORES)
        come, go = sums, total - sums  # to a token from where the chunk begins, from there to where it ends
        if way.adjoint:
            come, go, between = go, come, -between
        out = out * rows(jnp.exp(come), shape)
        scores = scores * jnp.exp(jnp.minimum(between, 0.0))
        t.scaled[...] = (r.load(t.v).astype(jnp.float32) * rows(jnp.exp(go), shape)).astype(dtype)
        plgpu.commit_smem()
        values = t.scaled
        state = tuple(s * jnp.exp(total) for s in state)
    i, j = places(r)
    scores = jnp.where(way.sees(i, j), scores, 0.0)
    out = r.dot(scores.astype(dtype), t.v, shape, out)
    state = tuple(r.dot(t.k.at[p], values, s.shape, s, a_t=True) for p, s in enumerate(state))
    plgpu.wait_smem_to_gmem(0)
    for p, s in enumerate(state):
        t.state[p] = s.astype(dtype)
    return out, state


def by_key_channel(r: Registers, way: Way, t: Tiles, state: State, split: Callable) -> tuple[jax.Array, State]:
    """A decay for each row of the state.

    Two tokens meet at the boundary between the halves of the smallest aligned block of 2, 4, ... 64 that has both: the
    key takes the decays up to there, the query those after, and no exponent is above 0.
    """
    dtype, width = t.v.dtype, t.v.shape[-1]
    i, j = places(r)
    load = lambda ref: r.load(ref).astype(jnp.float32)

    def within(p: jax.Array, scores: jax.Array) -> jax.Array:
        split(p)
        scores = scores + jnp.where(i == j, r.dot(t.q.at[p], t.k.at[p], SCORES, b_t=True), 0.0)

        def level(n: jax.Array, scores: jax.Array) -> jax.Array:
            decay = decays(r, t, p, to_boundary(way, n, i, j))
            t.scaled[...] = (load(t.k.at[p]) * decay).astype(dtype)
            queries = (load(t.q.at[p]) * decay).astype(dtype)
            plgpu.commit_smem()
            return scores + jnp.where(meet(way, n, i, j), r.dot(queries, t.scaled, SCORES, b_t=True), 0.0)

        return lax.fori_loop(0, LEVELS, level, scores)

    scores = lax.fori_loop(0, t.k.shape[0], within, r.full(SCORES, 0.0))
    plgpu.wait_smem_to_gmem(0)

    def across(p: jax.Array, out: jax.Array) -> jax.Array:
        queries = load(t.q.at[p]) * decays(r, t, p, come(way, i, j))
        out = r.dot(queries.astype(dtype), t.state.at[p], out.shape, out)
        t.scaled[...] = (load(t.k.at[p]) * decays(r, t, p, go(way, i, j))).astype(dtype)
        plgpu.commit_smem()
        total = rows(jnp.exp(r.load(t.total.at[p], LAYOUT.reduce(1))), (PIECE, width))
        keep(t, p, r.dot(t.scaled, t.v, total.shape, r.load(t.kept.at[p]) * total, a_t=True))
        return out

    return lax.fori_loop(0, t.k.shape[0], across, r.dot(scores.astype(dtype), t.v, (CHUNK, width))), state


def by_value_channel(r: Registers, way: Way, t: Tiles, state: State, split: Callable) -> tuple[jax.Array, State]:
    """A decay for each column of the state: values take the decays of keys, outputs those of queries."""
    dtype, width = t.v.dtype, t.v.shape[-1]
    i, j = places(r)
    split(0)
    out, scores = products(r, t)
    out = out * decays(r, t, 0, come(way, i, j))
    out = r.dot(jnp.where(i == j, scores, 0.0).astype(dtype), t.v, out.shape, out)

    def level(n: jax.Array, out: jax.Array) -> jax.Array:
        decay = decays(r, t, 0, to_boundary(way, n, i, j))
        t.scaled[...] = (r.load(t.v).astype(jnp.float32) * decay).astype(dtype)
        plgpu.commit_smem()
        across = jnp.where(meet(way, n, i, j), scores, 0.0).astype(dtype)
        return out + decay * r.dot(across, t.scaled, out.shape)

    out = lax.fori_loop(0, LEVELS, level, out)
    t.scaled[...] = (r.load(t.v).astype(jnp.float32) * decays(r, t, 0, go(way, i, j))).astype(dtype)
    plgpu.wait_smem_to_gmem(0)
    plgpu.commit_smem()

    def update(p: jax.Array, _: None) -> None:
        after = r.load(t.kept.at[p]) * columns(jnp.exp(r.load(t.total.at[0], LAYOUT.reduce(0))), (PIECE, width))
        keep(t, p, r.dot(t.k.at[p], t.scaled, after.shape, after, a_t=True))

    lax.fori_loop(0, t.k.shape[0], update, None)
    return out, state


def products(r: Registers, t: Tiles) -> tuple[jax.Array, jax.Array]:
    """The products of queries with the state and with keys, without decays or masks."""

    def piece(p: jax.Array, sums: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        out = r.dot(t.q.at[p], t.state.at[p], t.v.shape, sums[0])
        return out, r.dot(t.q.at[p], t.k.at[p], SCORES, sums[1], b_t=True)

    return lax.fori_loop(0, t.k.shape[0], piece, (r.full(t.v.shape, 0.0), r.full(SCORES, 0.0)))


def keep(t: Tiles, p: jax.Array | int, state: jax.Array) -> None:
    if t.kept is not None:
        t.kept[p] = state
    t.state[p] = state.astype(t.state.dtype)
    plgpu.commit_smem()


def meet_states(r: Registers, t: Tiles, state: State) -> None:
    """The inner product, for each column, of the state with that of the pass the other way."""
    met = r.full(t.products.shape, 0.0, LAYOUT.reduce(0))
    for p in range(t.state.shape[0]):
        own = r.load(t.kept.at[p]) if t.kept is not None else state[p]
        met = met + (r.load(t.met.at[p]).astype(jnp.float32) * own).sum(0)
    plgpu.wait_smem_to_gmem(0)
    t.products[...] = met


def split_decays(r: Registers, t: Tiles, p: jax.Array | int) -> None:
    """Splits the log-decays of a piece into two bfloat16 numbers each, which tensor cores can sum: together they have
    16 bits, and all are of one sign.
    """
    decay = jnp.maximum(r.load(t.decay.at[p]), LEAST)
    high = decay.astype(jnp.bfloat16)
    t.high[p] = high
    t.low[p] = (decay - high.astype(jnp.float32)).astype(jnp.bfloat16)
    t.total[p] = decay.sum(0)
    plgpu.commit_smem()


def decays(r: Registers, t: Tiles, p: jax.Array | int, which: jax.Array) -> jax.Array:
    """exp of the sum of the log-decays of some tokens, for each token and channel: `which` has a row for each token and
    True in the columns of those summed.
    """
    ones = jnp.where(which, 1.0, 0.0).astype(jnp.bfloat16)
    shape = t.low.shape[1:]
    return jnp.exp(r.dot(ones, t.low.at[p], shape, r.dot(ones, t.high.at[p], shape)))


def places(r: Registers) -> tuple[jax.Array, jax.Array]:
    """The row and the column of each score."""
    return r.iota(SCORES, 0), r.iota(SCORES, 1)


def come(way: Way, i: jax.Array, t: jax.Array) -> jax.Array:
    """Whether t's decay acts on the state on its way to i."""
    upto = t >= i if way.reverse else t <= i
    return ~upto if way.adjoint else upto


def go(way: Way, i: jax.Array, t: jax.Array) -> jax.Array:
    """Whether t's decay acts on i's key on its way to the next chunk."""
    return ~come(way, i, t)


def to_boundary(way: Way, level: jax.Array, i: jax.Array, t: jax.Array) -> jax.Array:
    """Whether t's decay acts between i and where i's block of 2^level tokens meets the one it pairs with."""
    block = i >> level
    start, end, odd = block << level, (block + 1) << level, (block & 1) == 1
    if way.reverse:
        return (t >= jnp.where(odd, start, i)) & (t < jnp.where(odd, i, end))
    return (t >= jnp.where(odd, start, i + 1)) & (t < jnp.where(odd, i + 1, end))


def meet(way: Way, level: jax.Array, i: jax.Array, j: jax.Array) -> jax.Array:
    """Whether i sees j across such a boundary, and so at no other level."""
    block = i >> level
    odd = (block & 1) == 1
    return j >> level == (jnp.where(odd, -1, block + 1) if way.backwards else jnp.where(odd, block - 1, -1))
