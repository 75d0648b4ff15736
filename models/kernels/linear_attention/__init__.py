"""Linear attention: softmax's kernel replaced by an inner product, so that keys are summed once; also with decay."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lra.models.kernels.softmax import pad_to_multiple


def linear_attention(
    phi_q: Float[Array, "batch queries heads features"],
    phi_k: Float[Array, "batch keys heads features"],
    v: Float[Array, "batch keys heads value_dim"],
    epsilon: float,
) -> Float[Array, "batch queries heads value_dim"]:
    """phi(q_i)^T sum_j phi(k_j) v_j^T / (phi(q_i)^T sum_j phi(k_j) + epsilon), not causal.

    A padded key must come with phi_k = 0: masking x before the feature map is not enough, since phi(0) is not 0.
    All is computed in float32. A query without a key gets 0.
    Equations 4 to 6 of Katharopoulos et al. 2020 (2006.16236).
    """
    phi_q, phi_k, values = (x.astype(jnp.float32) for x in (phi_q, phi_k, v))
    state = jnp.einsum("bkhm,bkhd->bhmd", phi_k, values)
    above = jnp.einsum("bqhm,bhmd->bqhd", phi_q, state)
    below = jnp.einsum("bqhm,bhm->bqh", phi_q, phi_k.sum(1))[..., None]
    return (above / jnp.where(below > 0, below + epsilon, 1)).astype(v.dtype)


def decayed_linear_attention(
    q: Float[Array, "batch length heads key_dim"],
    k: Float[Array, "batch length heads key_dim"],
    v: Float[Array, "batch length heads value_dim"],
    log_decay: Float[Array, "#batch #length heads #key_dim"],
    chunk: int = 64,
) -> Float[Array, "batch length heads value_dim"]:
    """y_i = S_i^T q_i with S_i = diag(exp(log_decay_i)) S_{i-1} + k_i v_i^T and S_{-1} = 0, causal; in float32.

    Nothing is normalised or scaled. `log_decay` is at most 0, and one for all positions, one a token, or one a channel
    of each token. The sequence is cut into chunks of `chunk` tokens, a power of two; the state S is kept for each
    chunk, not for each token, and the rest is computed again in the backward pass.

    Every exponent is a sum of log-decays between two tokens. No difference of longer sums is taken, which would
    lose them, and none is above 0, so that nothing overflows or is masked after exp.
    """
    batch, length, heads = q.shape[:3]
    chunk = min(chunk, 1 << (length - 1).bit_length())

    def chunks(x: Array) -> Array:  # [chunks, batch, heads, chunk, ...]
        x = pad_to_multiple(x, chunk)
        return x.reshape(x.shape[0], -1, chunk, *x.shape[2:]).transpose(1, 0, 3, 2, 4)

    if log_decay.shape[1] == 1:  # each chunk's is the same
        log_decay = jnp.broadcast_to(log_decay, (len(log_decay), chunk, *log_decay.shape[2:]))
        decays, each = None, chunks(log_decay)[0]
    else:
        decays, each = chunks(log_decay), None

    @jax.checkpoint
    def step(state: Array, xs: tuple[Array, Array, Array, Array | None]) -> tuple[Array, Array]:
        q, k, v, decay = jax.tree.map(lambda x: x.astype(jnp.float32), (*xs[:3], each if xs[3] is None else xs[3]))
        within = scalar_decay_within if decay.shape[-1] == 1 else channel_decay_within
        out = within(q, k, v, decay) + (q * jnp.exp(sums(decay))) @ state
        new = jnp.swapaxes(k * jnp.exp(sums(decay, after=True)), 2, 3) @ v
        return jnp.exp(decay.sum(2))[..., None] * state + new, out

    start = jnp.zeros((batch, heads, q.shape[-1], v.shape[-1]), jnp.float32)
    out = jax.lax.scan(step, start, (chunks(q), chunks(k), chunks(v), decays))[1]
    return out.transpose(1, 0, 3, 2, 4).reshape(batch, -1, heads, v.shape[-1])[:, :length]


def sums(x: Array, after: bool = False) -> Array:
    """At each place of the axis before the last, the sum up to and with it, or of what comes after it.

    One product with a matrix of ones and zeros, exact in float32: a scan of logarithmic depth takes longer to compile.
    """
    ones = np.triu(np.ones((x.shape[-2],) * 2, np.float32), 1) if after else np.tri(x.shape[-2], dtype=np.float32)
    return jnp.matmul(ones, x, precision=jax.lax.Precision.HIGHEST)


def scalar_decay_within(
    q: Float[Array, "batch heads chunk key_dim"],
    k: Float[Array, "batch heads chunk key_dim"],
    v: Float[Array, "batch heads chunk value_dim"],
    log_decay: Float[Array, "#batch heads chunk 1"],
) -> Float[Array, "batch heads chunk value_dim"]:
    """What the tokens of a chunk give each other: sum_{j <= i} exp(sum_{j < t <= i} log_decay_t) q_i . k_j v_j."""
    i, j = jnp.arange(q.shape[2])[:, None], jnp.arange(q.shape[2])
    between = sums(jnp.where(j < i, log_decay, 0))
    return ((q @ jnp.swapaxes(k, 2, 3)) * jnp.exp(jnp.where(j <= i, between, -jnp.inf))) @ v


def channel_decay_within(
    q: Float[Array, "batch heads chunk key_dim"],
    k: Float[Array, "batch heads chunk key_dim"],
    v: Float[Array, "batch heads chunk value_dim"],
    log_decay: Float[Array, "#batch heads chunk key_dim"],
) -> Float[Array, "batch heads chunk value_dim"]:
    """The same with a decay for each channel.

    Each half of the chunk, of that half, and so on, is seen by the half after it, through the boundary between
    them: the decay from a key to the boundary goes into the key, that from there to a query into the query.
    """
    out = (q * k).sum(-1, keepdims=True) * v
    size = q.shape[2] // 2
    while size:
        halves = lambda x, size=size: jnp.unstack(x.reshape(*x.shape[:2], -1, 2, size, x.shape[-1]), axis=3)
        queries, (keys, _), (values, _), (before, after) = halves(q)[1], halves(k), halves(v), halves(log_decay)
        queries, keys = queries * jnp.exp(sums(after)), keys * jnp.exp(sums(before, after=True))
        seen = (queries @ jnp.swapaxes(keys, 3, 4)) @ values
        out = out + jnp.stack([jnp.zeros_like(seen), seen], 3).reshape(out.shape)
        size //= 2
    return out


def bidirectional_decayed_linear_attention(
    q: Float[Array, "batch length heads key_dim"],
    k: Float[Array, "batch length heads key_dim"],
    v: Float[Array, "batch length heads value_dim"],
    log_decay: Float[Array, "#batch #length heads #key_dim"],
    mask: Bool[Array, "batch length"],
    own_twice: bool = False,
    chunk: int = 64,
) -> Float[Array, "batch length heads value_dim"]:
    """The sum of `decayed_linear_attention` forward and backward, over the real tokens.

    A token's own k and v reach it by both ways; they are counted once unless `own_twice`. With a decay that is one
    for all positions, token j reaches i with exp(log_decay |i - j|). One of its own for each token is applied as the
    state comes in to the token, from either side, and is 1 for padding, which passes the state on as it is.
    """
    real = mask[..., None, None]
    k = jnp.where(real, k, 0)
    if log_decay.shape[1] > 1:
        log_decay = jnp.where(real, log_decay, 0)
    both = lambda x: jnp.concatenate([x, jnp.flip(x, 1)], 2)  # directions as heads
    out = decayed_linear_attention(both(q), both(k), both(v), both(log_decay), chunk)
    forward, backward = jnp.split(out, 2, 2)
    out = forward + jnp.flip(backward, 1)
    if own_twice:
        return out
    q, k, v = (x.astype(jnp.float32) for x in (q, k, v))
    return out - (q * k).sum(-1, keepdims=True) * v
