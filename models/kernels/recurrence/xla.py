"""The diagonal recurrence in XLA, in chunks, on any device. The kernels are compared with it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from lra.models.kernels.blocks import from_blocks, into_blocks, pad_to_multiple
from lra.models.kernels.recurrence.operands import Kept, Operands, Static

CONSTANT_CHUNK = 16  # tokens that a constant recurrence takes at once; the cost of a token is of this order
CHUNK = 64  # tokens of a chunk where each token has a gate; the loop over all chunks has as many steps


def admits(static: Static, x: Operands) -> None:
    """XLA admits all operands."""


def forward(static: Static, operands: Operands) -> Array:
    """h, [batch, ways, length, channels]."""
    log_a, x = operands.log_a, operands.x.astype(operands.log_a.dtype)
    if log_a.ndim == 1:
        return constant(log_a, x, static.reverses)
    return jnp.stack([gated(jnp.exp(log_a), x, reverse) for reverse in static.reverses], 1)


def backward(static: Static, kept: Kept, dh: Array) -> tuple[Array, Array]:
    """The gradients of log_a and x, by h and its gradient [batch, ways, length, channels].

    That of x_i is l_i = dh_i + a_{i+1} l_{i+1}, and that of log_a_i is a_i h_{i-1} l_i. For q_i = a_i l_i the
    recurrence is q_i = a_i dh_i + a_i q_{i+1}, with no step of a shifted.
    """
    log_a, h = kept
    a, back = jnp.exp(log_a), tuple(not reverse for reverse in static.reverses)
    came_from = [before(h[:, way], reverse) for way, reverse in enumerate(static.reverses)]
    if log_a.ndim == 1:
        dx = constant(log_a, dh, back)
        d_log_a = a * sum([(y * dx[:, way]).sum((0, 1)) for way, y in enumerate(came_from)])
    else:
        q = each_way(lambda dh, reverse: gated(a, a * dh, reverse), dh, back)
        dx = dh + each_way(before, q, back)
        d_log_a = sum([y * q[:, way] for way, y in enumerate(came_from)], jnp.zeros_like(a))
    return d_log_a, dx.sum(1).astype(static.dtype)


def each_way(f, h: Array, reverses: tuple[bool, ...]) -> Array:  # type: ignore[no-untyped-def]
    return jnp.stack([f(h[:, way], reverse) for way, reverse in enumerate(reverses)], 1)


def before(h: Array, reverse: bool = False) -> Array:
    """The entry before each entry of [batch, length, ...], or after it if `reverse`; 0 at the first."""
    pad = [(0, 0), (0, 1) if reverse else (1, 0), *[(0, 0)] * (h.ndim - 2)]
    return jnp.pad(h[:, 1:] if reverse else h[:, :-1], pad)


def constant(
    log_a: Inexact[Array, " channels"],
    x: Inexact[Array, "batch length channels"] | Inexact[Array, "batch ways length channels"],
    reverses: tuple[bool, ...],
) -> Inexact[Array, "batch ways length channels"]:
    """A sequence is cut into chunks; their last states follow the same recurrence with exp(log_a)^CONSTANT_CHUNK.

    A scan of logarithmic depth would carry a product of a for each token, and take four times as long to compile.
    """
    length = x.shape[-2]
    chunk = min(CONSTANT_CHUNK, length)
    steps = jnp.arange(chunk)
    power = powers(log_a, chunk)
    since = jnp.stack([steps - steps[:, None] if reverse else steps[:, None] - steps for reverse in reverses])
    within = jnp.where(since[..., None] < 0, 0, power[since])
    x = pad_to_multiple(x, chunk, -2)
    x = x.reshape(*x.shape[:-2], -1, chunk, x.shape[-1])
    of_x = "bcjn" if x.ndim == 4 else "bwcjn"
    h = jnp.einsum(f"wijn,{of_x}->bwcin", within, x, precision=jax.lax.Precision.HIGHEST)
    if h.shape[2] > 1:
        ends = jnp.stack([h[:, way, :, 0 if reverse else -1] for way, reverse in enumerate(reverses)], 1)
        came_from = each_way(before, constant(chunk * log_a, ends, reverses), reverses)
        taken = jnp.stack([power[:0:-1] if reverse else power[1:] for reverse in reverses])
        h = h + taken[:, None] * came_from[:, :, :, None]
    return h.reshape(*h.shape[:2], -1, h.shape[-1])[:, :, :length]


def powers(log_a: Inexact[Array, " channels"], most: int) -> Inexact[Array, "most+1 channels"]:
    """exp(k log_a) for each k, as products of those of powers of two: a large k log_a loses digits of its phase."""
    table = jnp.ones((1, *log_a.shape), log_a.dtype)
    while len(table) <= most:
        table = jnp.concatenate([table, table * jnp.exp(len(table) * log_a)])
    return table[: most + 1]


def gated(
    a: Inexact[Array, "batch length channels"], x: Inexact[Array, "batch length channels"], reverse: bool
) -> Inexact[Array, "batch length channels"]:
    """All chunks step by step at once, twice: their last states follow a recurrence, from which they begin anew.

    No product of gates is kept for each token, and none is divided by.
    """
    length, chunk = x.shape[1], min(CHUNK, x.shape[1])
    by_step = lambda y: jnp.moveaxis(into_blocks(y, chunk), 2, 0)  # [chunk, batch, chunks, channels]
    steps = by_step(a), by_step(x)
    first = jnp.zeros_like(steps[1][0])

    def last(carry: tuple[Array, Array], step: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        (product, h), (a, x) = carry, step
        return (a * product, a * h + x), None

    def each(h: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        h = step[0] * h + step[1]
        return h, h

    if first.shape[1] > 1:
        ends, _ = jax.lax.scan(last, (first + 1, first), steps, reverse=reverse)
        first = before(gated(*ends, reverse), reverse)
    h = jax.lax.scan(each, first, steps, reverse=reverse)[1]
    return from_blocks(jnp.moveaxis(h, 0, 2), length)
