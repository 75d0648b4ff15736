"""Linear attention with decay on TPU: chunk after chunk, the state of some heads stays in VMEM."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float

from lra.models.kernels.blocks import pad_to_multiple
from lra.models.kernels.linear_attention.operands import Operands, Static
from lra.models.kernels.linear_attention.tpu_chunk import ChannelDecay, TokenDecay, wide
from lra.models.kernels.mosaic_tpu import NT, TN, dot, interpreted

CHUNK = 128
LANES = 128  # a tile's last axis
MAX_DIM = 256
MAX_HEADS = 8  # heads of one step
MAX_LANES, ROOM = 512, 768  # lanes of one step: the aim, and the limit where the aim cannot be met


def admits(static: Static, x: Operands) -> None:
    """Raises NotImplementedError for types but bfloat16 and float32, and for heads too wide for the memory."""
    q, v = x.q, x.v
    if q.dtype not in (jnp.bfloat16, jnp.float32):
        raise NotImplementedError(f"the kernel is for bfloat16 and float32, not {q.dtype}")
    heads, dim = q.shape[2], max(q.shape[3], v.shape[3])
    if dim > MAX_DIM:
        raise NotImplementedError(f"a head has {dim} dimensions, more than {MAX_DIM}")
    together = heads_together(heads, padded(q.shape[3]), padded(v.shape[3]))
    if together > MAX_HEADS or together * padded(dim) > ROOM:
        raise NotImplementedError(f"{heads} heads of {dim} dimensions do not divide into groups of whole tiles")


def forward(static: Static, x: Operands) -> Float[Array, "batch length heads value_dim"]:
    """`xla.forward` in the type of v."""
    q, k, v, log_decay = x
    grid = Grid.of(static, x)
    y = grid.run(forward_chunk, grid.inputs(q, k, v), log_decay, [grid.tokens(grid.value_dim, v.dtype)])
    return grid.cut(y[0], v.shape)


def backward(
    static: Static, kept: Operands, dy: Float[Array, "batch length heads value_dim"]
) -> tuple[Array, Array, Array, Array | None]:
    """The gradients of q, k, v and log_decay.

    The states before each chunk are computed again, in float32, and are in memory until a pass from the end has used
    them. Where they meet the gradients of the states after the chunk is what passes the chunk's decays: the gradient of
    log_decay takes no difference of long sums.
    """
    q, k, v, log_decay = kept
    grid = Grid.of(static, kept)
    q_, k_, v_, dy_ = grid.inputs(q, k, v, dy)
    states = grid.run(states_chunk, [k_, v_], log_decay, [grid.states])
    outputs = [grid.tokens(x.shape[-1] // grid.heads, x.dtype) for x in (q_, k_, v_)]
    if log_decay is not None:
        outputs.append(grid.decay_gradient)
    d_q, d_k, d_v, *d_decay = grid.run(backward_chunk, [q_, k_, v_, dy_, *states], log_decay, outputs, from_end=True)
    d_log_decay = None if log_decay is None else grid.cut_decay(d_decay[0], log_decay.shape)
    return grid.cut(d_q, q.shape), grid.cut(d_k, k.shape), grid.cut(d_v, v.shape), d_log_decay


class Grid(NamedTuple):
    """The grid: batch by groups of heads by chunks, one chunk after another. Heads lie side by side in the lanes."""

    batch: int
    chunks: int
    heads: int
    together: int  # heads of a step
    dim: int
    value_dim: int
    decay: Any  # TokenDecay, ChannelDecay or None
    reverse: bool
    interpret: bool

    @staticmethod
    def of(static: Static, x: Operands) -> "Grid":
        q, _, v, log_decay = x
        batch, length, heads, _ = q.shape
        dim, value_dim = padded(q.shape[-1]), padded(v.shape[-1])
        decay = None if log_decay is None else TokenDecay if log_decay.shape[-1] == 1 else ChannelDecay
        return Grid(
            batch, -(-length // CHUNK), heads, heads_together(heads, dim, value_dim), dim, value_dim, decay,
            static.reverse, static.interpret,
        )  # fmt: skip

    def inputs(self, *arrays: Array) -> list[Array]:
        """[batch, length, heads, dim] to [batch, chunks chunk, heads dim], filled up with zeros."""

        def flat(x: Array) -> Array:
            x = pad_to_multiple(pad_to_multiple(x, CHUNK), padded(x.shape[-1]), axis=-1)
            return x.reshape(*x.shape[:2], -1)

        return [flat(x) for x in arrays]

    def cut(self, x: Array, shape: tuple[int, ...]) -> Array:
        """The reverse of `inputs`, to an array of this shape."""
        x = x.reshape(self.batch, -1, self.heads, x.shape[-1] // self.heads)
        return x[:, : shape[1], :, : shape[3]]

    def decay_input(self, log_decay: Array) -> Array:
        """Log-decays as `inputs` has them. If a token has one decay, they are [batch, groups, chunks chunk, heads
        together].
        """
        length = self.length if log_decay.shape[1] == 1 else log_decay.shape[1]
        x = jnp.broadcast_to(log_decay, (len(log_decay), length, *log_decay.shape[2:]))
        if self.decay is ChannelDecay:
            return self.inputs(x)[0]
        x = pad_to_multiple(x[..., 0], CHUNK)
        return x.reshape(*x.shape[:2], -1, self.together).swapaxes(1, 2)

    def cut_decay(self, x: Array, shape: tuple[int, ...]) -> Array:
        """The reverse of `decay_input`, for a gradient."""
        length = shape[1] if shape[1] > 1 else self.length
        if self.decay is TokenDecay:
            x = x.swapaxes(1, 2).reshape(len(x), -1, self.heads, 1)[:, :length]
        else:
            x = self.cut(x, (self.batch, length, *shape[2:]))
        return x if shape[1] == length else x.sum(1, keepdims=True)

    @property
    def length(self) -> int:
        return self.chunks * CHUNK

    def tokens(self, dim: int, dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((self.batch, self.length, self.heads * dim), dtype)

    @property
    def states(self) -> jax.ShapeDtypeStruct:
        """Transposed, so that a channel's decay is that of a lane."""
        shape = (self.batch, self.chunks, self.heads, self.value_dim, self.dim)
        return jax.ShapeDtypeStruct(shape, jnp.float32)

    @property
    def decay_gradient(self) -> jax.ShapeDtypeStruct:
        if self.decay is ChannelDecay:
            return self.tokens(self.dim, jnp.float32)
        shape = (self.batch, self.heads // self.together, self.length, self.together)
        return jax.ShapeDtypeStruct(shape, jnp.float32)

    def spec(self, x: Any, at: Callable) -> pl.BlockSpec:
        """The block that a step has of an array of one of these shapes. `at` gives the chunk."""
        if len(x.shape) == 3:
            width = x.shape[2] // self.heads * self.together
            return pl.BlockSpec((None, CHUNK, width), lambda b, h, c: (b, at(c), h))
        if len(x.shape) == 4:
            return pl.BlockSpec((None, None, CHUNK, self.together), lambda b, h, c: (b, h, at(c), 0))
        block = (None, None, self.together, self.value_dim, self.dim)
        return pl.BlockSpec(block, lambda b, h, c: (b, at(c), h, 0, 0))

    def run(
        self, body: Callable, inputs: list[Array], log_decay: Array | None, outputs: list, from_end: bool = False
    ) -> list[Array]:
        """`body` for each chunk, in the order of the recurrence or against it."""
        if log_decay is not None:
            inputs = [*inputs, self.decay_input(log_decay)]
        at = (lambda c: self.chunks - 1 - c) if self.reverse != from_end else (lambda c: c)
        scratch = pltpu.VMEM((self.together, self.value_dim, self.dim), jnp.float32)

        def step(*refs: Any) -> None:
            ins, outs, state = refs[: len(inputs)], refs[len(inputs) : -1], refs[-1]

            @pl.when(pl.program_id(2) == 0)
            def _() -> None:
                state[...] = jnp.zeros_like(state)

            ins, decay_ref = (ins, None) if log_decay is None else (ins[:-1], ins[-1])
            decays = (self.decay or TokenDecay).of_heads(decay_ref, CHUNK, self.together, self.reverse)
            body(self, decays, ins, outs, state)

        return pl.pallas_call(
            step,
            grid=(self.batch, self.heads // self.together, self.chunks),
            in_specs=[self.spec(x, at) for x in inputs],
            out_specs=[self.spec(x, at) for x in outputs],
            out_shape=outputs,
            scratch_shapes=[scratch],
            compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "parallel", "arbitrary")),
            interpret=interpreted(self.interpret),
        )(*inputs)

    def each_head(self, head: Callable[[int], None]) -> None:
        """Runs `head` for each head of a step. With a decay a channel, each head is in a branch, though it is always
        taken: else the compiler mixes the heads, and vector memory has no room for what all of them compute.
        """
        always = pl.program_id(2) >= 0
        for h in range(self.together):
            one = partial(head, h)
            if self.decay is ChannelDecay:
                pl.when(always)(one)
            else:
                one()

    def columns(self, h: int, *refs: Any) -> list[Any]:
        """The columns of head h."""
        widths = [ref.shape[1] // self.together for ref in refs]
        return [ref.at[:, h * width : (h + 1) * width] for ref, width in zip(refs, widths)]


def forward_chunk(grid: Grid, decays: Callable, ins: tuple, outs: tuple, state_ref: Any) -> None:
    def head(h: int) -> None:
        decay = decays(h)
        q_ref, k_ref, v_ref, y_ref = grid.columns(h, *ins, *outs)
        q, k, v, state = q_ref[...], k_ref[...], v_ref[...], state_ref[h]
        y = dot(decay.scores(q, k), v, dtype=v.dtype) + dot(wide(q) * decay.come, state, NT, v.dtype)
        y_ref[...] = y.astype(y_ref.dtype)
        state_ref[h] = state * decay.kept + dot(v, wide(k) * decay.go, TN, v.dtype)

    grid.each_head(head)


def states_chunk(grid: Grid, decays: Callable, ins: tuple, outs: tuple, state_ref: Any) -> None:
    def head(h: int) -> None:
        decay, state = decays(h), state_ref[h]
        k_ref, v_ref = grid.columns(h, *ins)
        v = v_ref[...]
        outs[0][h] = state
        state_ref[h] = state * decay.kept + dot(v, wide(k_ref[...]) * decay.go, TN, v.dtype)

    grid.each_head(head)


def backward_chunk(grid: Grid, decays: Callable, ins: tuple, outs: tuple, d_state_ref: Any) -> None:
    *tokens, states_ref = ins

    def head(h: int) -> None:
        decay = decays(h)
        q, k, v, dy = (ref[...] for ref in grid.columns(h, *tokens))
        narrow = partial(dot, dtype=v.dtype)
        state, d_state = states_ref[h], d_state_ref[h]
        scores, d_scores = decay.scores(q, k), narrow(dy, v, NT)
        seen, left = wide(q) * decay.come, wide(k) * decay.go
        d_seen, d_left = narrow(dy, state), narrow(v, d_state)
        kept = decay.kept * (state * d_state).sum(0, keepdims=True)
        d_q, d_k, d_decay = decay.backward(q, k, scores, d_scores, seen * d_seen, left * d_left, kept)
        d_q, d_k = d_q + d_seen * decay.come, d_k + d_left * decay.go
        d_v = narrow(scores, dy, TN) + narrow(left, d_state, NT)
        for ref, x in zip(grid.columns(h, *outs[:3]), (d_q, d_k, d_v)):
            ref[...] = x.astype(ref.dtype)
        d_state_ref[h] = d_state * decay.kept + narrow(dy, seen, TN)
        if grid.decay:
            grid.decay.store(outs[3], h, d_decay)

    grid.each_head(head)
    if grid.decay:
        grid.decay.finish(outs[3], grid.reverse)


def padded(dim: int) -> int:
    """The width at which a head does not lie across tiles, and few fill whole ones."""
    return max(32, 1 << (dim - 1).bit_length()) if dim <= LANES else -(-dim // LANES) * LANES


def heads_together(heads: int, dim: int, value_dim: int) -> int:
    """As many as one step takes, of the numbers that divide the heads and fill whole tiles, as all heads need not."""
    whole = [
        n for n in range(1, heads + 1)
        if heads % n == 0 and (n == heads or n * dim % LANES == 0 == n * value_dim % LANES)
    ]  # fmt: skip
    few = [n for n in whole if n <= MAX_HEADS and n * max(dim, value_dim) <= MAX_LANES]
    return max(few, default=whole[0])
