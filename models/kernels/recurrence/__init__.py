"""Diagonal linear recurrences x_i = a x_{i-1} + b_i, real or complex, and layers that are made of them.

All states are float32 or complex64.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Inexact, Int

from lra.models.kernels.softmax import from_blocks, into_blocks

CHUNK = 16  # tokens that a constant recurrence takes at once; its cost a token is of this order
HIGHEST = jax.lax.Precision.HIGHEST


def full_precision(x: Array) -> Array:
    return x.astype(jnp.complex64 if jnp.iscomplexobj(x) else jnp.float32)


def constant_recurrence(
    log_a: Inexact[Array, "*state"], b: Inexact[Array, "batch length *state"]
) -> Inexact[Array, "batch length *state"]:
    """x_i = exp(log_a) x_{i-1} + b_i with x_{-1} = 0.

    A sequence is cut into chunks; their last states follow the same recurrence with exp(log_a)^CHUNK. A scan of
    logarithmic depth would carry a product of a for each token, and take four times as long to compile.
    """
    log_a, b = full_precision(log_a), full_precision(b)
    length, chunk = b.shape[1], min(CHUNK, b.shape[1])
    steps = jnp.arange(chunk)
    powers = lambda exponents: jnp.exp(exponents.reshape(*exponents.shape, *[1] * log_a.ndim) * log_a)
    since = steps[:, None] - steps
    within = jnp.where((since >= 0).reshape(chunk, chunk, *[1] * log_a.ndim), powers(jnp.maximum(since, 0)), 0)
    x = jnp.einsum("ij...,bcj...->bci...", within, into_blocks(b, chunk), precision=HIGHEST)
    if x.shape[1] > 1:
        x = x + powers(steps + 1) * before(constant_recurrence(chunk * log_a, x[:, :, -1]))[:, :, None]
    return from_blocks(x, length)


def before(x: Array) -> Array:
    """What was at the step before; 0 at the first."""
    return jnp.pad(x[:, :-1], [(0, 0), (1, 0), *[(0, 0)] * (x.ndim - 2)])


def constant_convolution(
    log_a: Inexact[Array, "channels state"],
    weights: Inexact[Array, "channels state"],
    u: Float[Array, "batch length channels"],
) -> Float[Array, "batch length channels"]:
    """y_i = sum_{j <= i} Re(sum_n weights_n exp(log_a_n)^(i-j)) u_j in each channel, in float32.

    The state of a recurrence for each n would be as many times larger than u; it is kept once a chunk.
    """
    log_a, weights, u = full_precision(log_a), full_precision(weights), full_precision(u)
    length = u.shape[1]
    steps = jnp.arange(CHUNK)
    powers = jnp.exp(steps[:, None, None] * log_a)
    kernel = jnp.einsum("kdn,dn->kd", powers, weights, precision=HIGHEST).real
    since = steps[:, None] - steps
    within = jnp.where((since >= 0)[..., None], kernel[since], 0)
    chunks = into_blocks(u, CHUNK)
    y = jnp.einsum("ijd,bcjd->bcid", within, chunks, precision=HIGHEST)
    if chunks.shape[1] > 1:
        ends = jnp.einsum("jdn,bcjd->bcdn", powers[::-1], chunks, precision=HIGHEST)
        states = before(constant_recurrence(CHUNK * log_a, ends))
        out = powers * jnp.exp(log_a) * weights
        y = y + jnp.einsum("idn,bcdn->bcid", out, states, precision=HIGHEST).real
    return from_blocks(y, length)


def bidirectional_state_space(
    log_a: Complex[Array, " state"],
    b: Complex[Array, "state dim"],
    c: Complex[Array, "ways=2 out state"],
    u: Float[Array, "batch length dim"],
    mask: Bool[Array, "batch length"],
) -> Float[Array, "batch length out"]:
    """y_i = Re(C_0 f_i + C_1 g_i) with f_i = a f_{i-1} + B u_i and g_i = a g_{i+1} + B u_i, a = exp(log_a), in float32.

    A token enters both states, and so counts itself twice. Gaps in the mask are closed first, so that a is
    one for all tokens: padding would need a = 1.
    """
    u = close_gaps(full_precision(u), mask)
    driven = jax.lax.complex(u @ b.real.T, u @ b.imag.T)
    states = constant_recurrence(log_a, jnp.concatenate([driven, jnp.flip(driven, 1)]))
    forward, backward = jnp.split(states, 2)
    states = jnp.stack([forward, jnp.flip(backward, 1)], 2)  # [batch, length, ways, state]
    y = jnp.einsum("blwn,won->blo", states.real, c.real) - jnp.einsum("blwn,won->blo", states.imag, c.imag)
    return open_gaps(y, mask)


def place_without_gaps(mask: Bool[Array, "batch length"]) -> Int[Array, "batch length"]:
    """How many real tokens there are before each token."""
    return jnp.cumsum(mask, 1) - mask


def close_gaps(
    x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
) -> Float[Array, "batch length dim"]:
    """The real tokens one after the other, zeros behind them."""
    place = jnp.where(mask, place_without_gaps(mask), mask.shape[1])  # beyond the end is dropped
    return jax.vmap(lambda x, place: jnp.zeros_like(x).at[place].add(x, mode="drop"))(x, place)


def open_gaps(
    x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
) -> Float[Array, "batch length dim"]:
    """The real tokens back where they were; padding gets what is of no use."""
    place = jnp.minimum(place_without_gaps(mask), mask.shape[1] - 1)
    return jnp.take_along_axis(x, place[..., None], 1)
