"""Layers that are made of diagonal recurrences. All states are float32 or complex64."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Inexact, Int

from lra.models.kernels.blocks import from_blocks, into_blocks
from lra.models.kernels.recurrence.op import diagonal_recurrence
from lra.models.kernels.recurrence.xla import before

CHUNK = 16  # tokens of a convolution for which a state is kept; the cost of a token is of this order
HIGHEST = jax.lax.Precision.HIGHEST


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
        states = before(diagonal_recurrence(CHUNK * log_a, ends))
        out = powers * jnp.exp(log_a) * weights
        y = y + jnp.einsum("idn,bcdn->bcid", out, states, precision=HIGHEST).real
    return from_blocks(y, length)


def full_precision(x: Array) -> Array:
    return x.astype(jnp.complex64 if jnp.iscomplexobj(x) else jnp.float32)


def bidirectional_state_space(
    log_a: Complex[Array, " state"],
    b: Complex[Array, "state dim"],
    c: Complex[Array, "ways=2 out state"],
    u: Float[Array, "batch length dim"],
    mask: Bool[Array, "batch length"],
) -> Float[Array, "batch length out"]:
    """y_i = Re(C_0 f_i + C_1 g_i) with f_i = a f_{i-1} + B u_i and g_i = a g_{i+1} + B u_i, a = exp(log_a), in float32.

    A token enters both states, and so counts itself twice. Gaps in the mask are closed first: padding would need a = 1,
    and a is one for all tokens.
    """
    u = close_gaps(full_precision(u), mask)
    driven = jax.lax.complex(u @ b.real.T, u @ b.imag.T)
    states = diagonal_recurrence(log_a, driven, direction="both")
    y = jnp.einsum("bwln,won->blo", states.real, c.real) - jnp.einsum("bwln,won->blo", states.imag, c.imag)
    return open_gaps(y, mask)


def place_without_gaps(mask: Bool[Array, "batch length"]) -> Int[Array, "batch length"]:
    """The number of real tokens before each token."""
    return jnp.cumsum(mask, 1) - mask


def close_gaps(
    x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
) -> Float[Array, "batch length dim"]:
    """The real tokens one after the other, with zeros behind them."""
    place = jnp.where(mask, place_without_gaps(mask), mask.shape[1])  # beyond the end is dropped
    return jax.vmap(lambda x, place: jnp.zeros_like(x).at[place].add(x, mode="drop"))(x, place)


def open_gaps(
    x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
) -> Float[Array, "batch length dim"]:
    """The reverse of `close_gaps`: the real tokens at their places. What padding gets has no meaning."""
    place = jnp.minimum(place_without_gaps(mask), mask.shape[1] - 1)
    return jnp.take_along_axis(x, place[..., None], 1)
