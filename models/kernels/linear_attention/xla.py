"""Linear attention with decay by XLA, on any device: the reference of the kernels."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lra.models.kernels.backends import platform
from lra.models.kernels.blocks import pad_to_multiple
from lra.models.kernels.linear_attention.operands import Operands, Static

# An accelerator waits for each step of the loop over the chunks. A CPU does the work of all pairs of tokens in a chunk.
CHUNK, CHUNK_ON_CPU = 64, 16

# Lower log-decays are decays of 0 in float32. Multiples of 2^-10 above it have exact sums of up to 128.
LEAST = -104.0


def admits(static: Static, x: Operands) -> None:
    """XLA admits all operands."""


def forward(static: Static, x: Operands, chunk: int | None = None) -> Float[Array, "batch length heads value_dim"]:
    """y_i = S_i^T q_i with S_i = diag(exp(log_decay_i)) S_{i-1} + k_i v_i^T, in float32; S_{i+1} if `static.reverse`.

    The sequence is cut into chunks of `chunk` tokens, a power of two, by default the platform's; the state S is kept
    for each chunk, not for each token, and the rest is computed again in the backward pass.

    Every exponent is a sum of log-decays between two tokens. No difference of longer sums is taken, which would
    lose them, and none is above 0, so that nothing overflows or is masked after exp.
    """
    q, k, v, log_decay = x
    reverse = static.reverse
    batch, length, heads = q.shape[:3]
    chunk = chunk or (CHUNK_ON_CPU if platform() == "cpu" else CHUNK)
    chunk = min(chunk, 1 << (length - 1).bit_length())
    if log_decay is None:
        log_decay = jnp.zeros((1, 1, heads, 1))
    log_decay = jnp.broadcast_to(log_decay, (len(log_decay), length, heads, log_decay.shape[-1]))
    within = scalar_decay_within if log_decay.shape[-1] == 1 else channel_decay_within

    def chunks(x: Array) -> Array:  # [chunks, batch, heads, chunk, ...]
        x = pad_to_multiple(x, chunk)
        return x.reshape(x.shape[0], -1, chunk, *x.shape[2:]).transpose(1, 0, 3, 2, 4)

    @jax.checkpoint
    def step(state: Array, xs: tuple[Array, ...]) -> tuple[Array, Array]:
        q, k, v, decay = (x.astype(jnp.float32) for x in xs)
        out = within(q, k, v, decay, reverse) + (q * jnp.exp(sums(decay, reverse))) @ state
        new = jnp.swapaxes(k * jnp.exp(sums(decay, reverse, after=True)), 2, 3) @ v
        return jnp.exp(decay.sum(2))[..., None] * state + new, out

    start = jnp.zeros((batch, heads, q.shape[-1], v.shape[-1]), jnp.float32)
    out = jax.lax.scan(step, start, (chunks(q), chunks(k), chunks(v), chunks(log_decay)), reverse=reverse)[1]
    return out.transpose(1, 0, 3, 2, 4).reshape(batch, -1, heads, v.shape[-1])[:, :length]


def sums(x: Array, reverse: bool, after: bool = False) -> Array:
    """At each place of the axis before the last, the sum up to and including it or, if `after`, of what comes after it.

    It is one product with a matrix of ones and zeros, exact in float32. A scan of logarithmic depth would take longer
    to compile.
    """
    i, t = np.ogrid[: x.shape[-2], : x.shape[-2]]
    up_to = t >= i if reverse else t <= i
    ones = (~up_to if after else up_to).astype(np.float32)
    return jnp.matmul(ones, x, precision=jax.lax.Precision.HIGHEST)


def scalar_decay_within(
    q: Float[Array, "batch heads chunk key_dim"],
    k: Float[Array, "batch heads chunk key_dim"],
    v: Float[Array, "batch heads chunk value_dim"],
    log_decay: Float[Array, "#batch heads chunk 1"],
    reverse: bool,
) -> Float[Array, "batch heads chunk value_dim"]:
    """What the tokens of a chunk give each other: sum_{j <= i} exp(sum_{j < t <= i} log_decay_t) q_i . k_j v_j."""
    return ((q @ jnp.swapaxes(k, 2, 3)) * jnp.exp(between(log_decay, reverse)[..., 0])) @ v


def between(
    log_decay: Float[Array, "#batch heads chunk channels"], reverse: bool
) -> Float[Array, "#batch heads chunk chunk channels"]:
    """sum_{j < t <= i} log_decay_t for each pair of tokens i and j of a chunk, and -inf where i does not see j.

    It is a difference of sums of multiples of 2^-10, which are exact, and of the small rest.
    """
    decay = jnp.maximum(log_decay, LEAST)
    coarse = jax.lax.stop_gradient(jnp.round(decay * 1024) / 1024)
    of_pairs = lambda x: x[..., :, None, :] - x[..., None, :, :]
    i, j = np.ogrid[: decay.shape[-2], : decay.shape[-2]]
    seen = j >= i if reverse else j <= i
    exponents = sum(of_pairs(sums(x, reverse)) for x in (coarse, decay - coarse))
    return jnp.where(seen[..., None], exponents, -jnp.inf)


def channel_decay_within(
    q: Float[Array, "batch heads chunk key_dim"],
    k: Float[Array, "batch heads chunk key_dim"],
    v: Float[Array, "batch heads chunk value_dim"],
    log_decay: Float[Array, "#batch heads chunk key_dim"],
    reverse: bool,
) -> Float[Array, "batch heads chunk value_dim"]:
    """The same with a decay for each channel.

    Each half of the chunk, of that half, and so on, is seen by the half after it, through the boundary between
    them: the decay from a key to the boundary goes into the key, that from there to a query into the query.
    """
    out = (q * k).sum(-1, keepdims=True) * v
    size = q.shape[2] // 2
    while size:

        def halves(x: Array, size: int = size) -> Sequence[Array]:  # the half that is seen, and the half that sees it
            both = jnp.unstack(x.reshape(*x.shape[:2], -1, 2, size, x.shape[-1]), axis=3)
            return both[::-1] if reverse else both

        queries, (keys, _), (values, _), (before, after) = halves(q)[1], halves(k), halves(v), halves(log_decay)
        queries = queries * jnp.exp(sums(after, reverse))
        keys = keys * jnp.exp(sums(before, reverse, after=True))
        seen = (queries @ jnp.swapaxes(keys, 3, 4)) @ values
        parts = [seen, jnp.zeros_like(seen)] if reverse else [jnp.zeros_like(seen), seen]
        out = out + jnp.stack(parts, 3).reshape(out.shape)
        size //= 2
    return out
