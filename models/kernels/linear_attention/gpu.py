"""Chunked linear attention on Hopper: forward and backward are passes of one kernel."""

from functools import partial

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from lra.models.kernels.blocks import from_blocks, into_blocks
from lra.models.kernels.linear_attention.gpu_chunk import CHUNK, Way, by_key_channel, by_token, by_value_channel
from lra.models.kernels.linear_attention.gpu_pass import run
from lra.models.kernels.linear_attention.operands import Operands, Static

MAX_DIM = 256


def admits(static: Static, x: Operands) -> None:
    """Raises NotImplementedError for types but bfloat16, and for a head of more than 256 dimensions."""
    if x.q.dtype != jnp.bfloat16 or x.v.dtype != jnp.bfloat16:
        raise NotImplementedError("Hopper's tensor cores would round float32 to TF32: the kernel is for bfloat16")
    if max(x.q.shape[-1], x.v.shape[-1]) > MAX_DIM:
        raise NotImplementedError(f"a head of more than {MAX_DIM} dimensions has too large a state")


def forward(static: Static, x: Operands) -> Float[Array, "batch length heads value_dim"]:
    """`xla.forward` in the type of v."""
    by = by_key_channel if of_channels(x.log_decay) else by_token
    return run(*x, by, Way(static.reverse), interpret=static.interpret)[0]


def backward(
    static: Static, kept: Operands, dy: Float[Array, "batch length heads value_dim"]
) -> tuple[Array, Array, Array, Array | None]:
    """The gradients of q, k, v and log_decay: linear attentions again, with the same decays.

    With w_ij the decay from token j to token i, dq_i = sum_j w_ij (dy_i . v_j) k_j, and the gradients of keys and
    values are such sums over the tokens i that see j. Decays of channels are those of k in dq and of q in dk, which
    stand in the values' place there.

    log_decay_t decays the pairs of a token before t with one from t on. Within a chunk, the sum of q dq from t on has
    the pairs that end there, that of k dk those that begin there, and the difference is the pairs across t (Yang et
    al. 2024, 2312.06635), but for those also across the chunk's end: they are the inner product of the states that
    the passes for dq and for dk have there. A difference over the whole sequence would lose more the longer it is.
    """
    q, k, v, log_decay = kept
    reverse, interpret = static.reverse, static.interpret
    decayed = log_decay is not None
    keys, values = (by_key_channel, by_value_channel) if of_channels(log_decay) else (by_token, by_token)
    there, back = Way(reverse), Way(reverse, adjoint=True)
    wide = partial(run, dtype=jnp.float32 if decayed else q.dtype, interpret=interpret)
    dq, states = wide(dy, v, k, log_decay, values, there, keep_states=decayed)
    dk, across = wide(v, dy, q, log_decay, values, back, other_states=states)
    dv, _ = run(k, q, dy, log_decay, keys, back, interpret=interpret)
    if log_decay is None:
        return dq, dk, dv, None
    passing = q.astype(jnp.float32) * dq - k.astype(jnp.float32) * dk
    if not of_channels(log_decay):
        passing, across = passing.sum(-1, keepdims=True), across.sum(-1, keepdims=True)
    d_decay = lax.cumsum(into_blocks(passing, CHUNK), axis=2, reverse=not reverse) + across[:, :, None]
    d_decay = from_blocks(d_decay, q.shape[1])
    one_for_all = [axis for axis, size in enumerate(log_decay.shape) if size != d_decay.shape[axis]]
    return dq.astype(q.dtype), dk.astype(k.dtype), dv, d_decay.sum(one_for_all, keepdims=True)


def of_channels(log_decay: Array | None) -> bool:
    return log_decay is not None and log_decay.shape[-1] > 1
