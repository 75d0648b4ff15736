"""AdamW and the learning-rate schedules of LRA's configurations."""

from collections.abc import Callable

import gin
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

Schedule = Callable[[Int[Array, ""]], Float[Array, ""]]


@gin.configurable("rsqrt")
def rsqrt(base: float = 0.05, warmup: int = 1000) -> Schedule:
    """base min(1, step / warmup) / sqrt(max(step, warmup)), LRA's "constant * linear_warmup * rsqrt_decay"."""
    return lambda step: base * jnp.minimum(1.0, step / warmup) / jnp.sqrt(jnp.maximum(step, warmup))


@gin.configurable("cosine")
def cosine(base: float = 1e-3, warmup: int = 100, cycle: int = gin.REQUIRED) -> Schedule:
    """Linear warm-up to `base`, then half a cosine over each `cycle` steps: LRA's "... * cosine_decay".

    0.5 (1 + cos(pi ((step - warmup) / cycle mod 1))), the factor being 1 during the warm-up.
    """

    def schedule(step: Int[Array, ""]) -> Float[Array, ""]:
        progress = jnp.maximum(0.0, (step - warmup) / cycle)
        return base * jnp.minimum(1.0, step / warmup) * 0.5 * (1.0 + jnp.cos(jnp.pi * (progress % 1.0)))

    return schedule


@gin.configurable("adamw")
def adamw(
    learning_rate: Schedule = gin.REQUIRED,
    b1: float = 0.9,
    b2: float = 0.98,
    eps: float = 1e-9,
    weight_decay: float = 0.0,
    clip: float | None = None,
) -> tuple[optax.GradientTransformation, Schedule]:
    """AdamW as LRA has it: p -= lr (adam + weight_decay p) for all parameters (Loshchilov & Hutter 2019, 1711.05101).

    Args:
      clip: the global gradient norm above which gradients are scaled down; None never does.

    Returns:
      the optimiser, and the schedule alone for the log.
    """
    optimizer = optax.adamw(learning_rate, b1, b2, eps, weight_decay=weight_decay)
    if clip is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(clip), optimizer)
    return optimizer, learning_rate
