"""Optimisers and learning-rate schedules. A new one is a class here and an entry in `lra.sections`."""

import dataclasses

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from lra.errors import UsageError


class Schedule:
    """The learning rate as a function of the step. A subclass is a frozen dataclass of the schedule's parameters."""

    def __call__(self, step: Int[Array, "*steps"]) -> Float[Array, "*steps"]:
        raise NotImplementedError


class Optimizer:
    """The parameters of an optimiser. A subclass is a frozen dataclass.

    Attributes:
      learning_rate: the schedule, which the log shows beside the loss.
    """

    learning_rate: Schedule

    def transform(self) -> optax.GradientTransformation:
        """The optimiser as an Optax transformation."""
        raise NotImplementedError


def at_least_one(section: str, **steps: int) -> None:
    """Raises UsageError if a number of steps is less than 1."""
    for name, value in steps.items():
        if value < 1:
            raise UsageError(f"{section}.{name} = {value} is not at least 1 step")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rsqrt(Schedule):
    """base min(1, step / warmup) / sqrt(max(step, warmup)), LRA's "constant * linear_warmup * rsqrt_decay".

    Attributes:
      base: the factor in front; the highest rate is base / sqrt(warmup).
      warmup: steps over which the rate rises linearly.
    """

    base: float = 0.05
    warmup: int = 1000

    def __post_init__(self) -> None:
        at_least_one("rsqrt", warmup=self.warmup)

    def __call__(self, step: Int[Array, "*steps"]) -> Float[Array, "*steps"]:
        return self.base * jnp.minimum(1.0, step / self.warmup) / jnp.sqrt(jnp.maximum(step, self.warmup))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Linear warm-up to `base`, then half a cosine over each `cycle` steps: LRA's "... * cosine_decay".

    0.5 (1 + cos(pi ((step - warmup) / cycle mod 1))), the factor being 1 during the warm-up.

    Attributes:
      base: the highest rate.
      warmup: steps over which the rate rises linearly.
      cycle: steps from the highest rate to 0.
    """

    base: float = 1e-3
    warmup: int = 100
    cycle: int

    def __post_init__(self) -> None:
        at_least_one("cosine", warmup=self.warmup, cycle=self.cycle)

    def __call__(self, step: Int[Array, "*steps"]) -> Float[Array, "*steps"]:
        progress = jnp.maximum(0.0, (step - self.warmup) / self.cycle)
        return self.base * jnp.minimum(1.0, step / self.warmup) * 0.5 * (1.0 + jnp.cos(jnp.pi * (progress % 1.0)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdamW(Optimizer):
    """AdamW as LRA has it: p -= lr (adam + weight_decay p) for all parameters (Loshchilov & Hutter 2019, 1711.05101).

    Attributes:
      learning_rate: the section of the schedule.
      weight_decay: the share of a parameter that a step takes away, times the learning rate.
      b1: the decay rate of the mean of the gradients.
      b2: the decay rate of the mean of their squares.
      eps: the number that is added to Adam's denominator.
      clip: the global gradient norm above which gradients are scaled down; None never does.
    """

    learning_rate: Schedule
    b1: float = 0.9
    b2: float = 0.98
    eps: float = 1e-9
    weight_decay: float = 0.0
    clip: float | None = None

    def __post_init__(self) -> None:
        for name in ("b1", "b2"):
            if not 0 <= (rate := getattr(self, name)) < 1:
                raise UsageError(f"adamw.{name} = {rate} is not at least 0 and less than 1")
        for name in ("eps", "weight_decay"):
            if (number := getattr(self, name)) < 0:
                raise UsageError(f"adamw.{name} = {number} is not at least 0")
        if self.clip is not None and self.clip <= 0:
            raise UsageError(f"adamw.clip = {self.clip} is not above 0; None never clips")

    def transform(self) -> optax.GradientTransformation:
        adamw = optax.adamw(self.learning_rate, self.b1, self.b2, self.eps, weight_decay=self.weight_decay)
        return adamw if self.clip is None else optax.chain(optax.clip_by_global_norm(self.clip), adamw)
