"""The diagonal linear recurrence: the function that layers call, for all backends."""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from lra.models.kernels.backends import Backend, Differentiable, Op, choose
from lra.models.kernels.recurrence import gpu, tpu, xla
from lra.models.kernels.recurrence.operands import DIRECTIONS, Kept, Operands, Static, draw

BACKENDS: Mapping[str, Backend] = {"xla": xla, "mosaic_tpu": tpu, "mosaic_gpu": gpu}


def diagonal_recurrence(
    log_a: Inexact[Array, "*state"] | Inexact[Array, "batch length *state"],
    x: Inexact[Array, "batch length *state"],
    *,
    direction: str = "forward",
    backend: str | None = None,
) -> Inexact[Array, "batch length *state"] | Inexact[Array, "batch ways=2 length *state"]:
    """h_i = a_i h_{i-1} + x_i with a = exp(log_a) and h_{-1} = 0, elementwise, in float32 or complex64.

    It is the recurrence of S5 (Smith et al. 2022, 2208.04933, section 2.2) and, with an `a` for each token, that of
    gated ones (HGRN, Qin et al. 2023, 2311.04823). Work and memory are linear in the length. So
    are those of the gradient, which is a recurrence in the other direction.

    Args:
      log_a: real parts at most 0, or the states grow; without batch and length, it is the same for all tokens.
      x: the inputs. If they are bfloat16 they are read as they are, and their gradient is bfloat16 too.
      direction: "forward"; "backward", where h_i = a_i h_{i+1} + x_i; or "both", one after the other on axis 1.
      backend: one of `backends.NAMES`; None is what `backends.deciding` says, or XLA.

    Raises:
      ValueError: there is no such direction or backend, or the shapes do not fit.
      NotImplementedError: the backend does not admit these operands.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction '{direction}' is none of {', '.join(DIRECTIONS)}")
    if log_a.shape not in (x.shape, x.shape[2:]):
        raise ValueError(f"log_a of shape {log_a.shape} is neither like x of shape {x.shape} nor like one token of it")
    batch, length, *state = x.shape
    flat = (batch, length, -1) if log_a.ndim == x.ndim else (-1,)
    complex_ = jnp.iscomplexobj(log_a) or jnp.iscomplexobj(x)
    wide = jnp.complex64 if complex_ else jnp.float32
    narrow = jnp.bfloat16 if x.dtype == jnp.bfloat16 and not complex_ else wide
    operands = Operands(log_a.astype(wide).reshape(flat), x.astype(narrow).reshape(batch, length, -1))
    static = Static(DIRECTIONS[direction], narrow)
    name, static = choose(OP, backend, static, operands)
    h = run(name, static, operands)
    return h.reshape(batch, *[2] * (direction == "both"), length, *state)


def run(name: str, static: Static, x: Operands) -> Inexact[Array, "batch ways length channels"]:
    """The op by a backend."""
    backend = BACKENDS[name]
    return (partial(fused, backend) if isinstance(backend, Differentiable) else backend.forward)(static, x)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def fused(backend: Differentiable, static: Static, x: Operands) -> Inexact[Array, "batch ways length channels"]:
    return backend.forward(static, x)


def _forward(backend: Differentiable, static: Static, x: Operands) -> tuple[Array, Kept]:
    h = fused(backend, static, x)
    return h, Kept(x.log_a, h)


def _backward(backend: Differentiable, static: Static, kept: Kept, dh: Array) -> tuple[Operands]:
    return (Operands(*backend.backward(static, kept, dh)),)


fused.defvjp(_forward, _backward)

OP = Op("diagonal recurrence", __name__, BACKENDS, run, draw)
