"""The section `train` of a configuration."""

import dataclasses

from lra.errors import UsageError, unknown
from lra.leaderboard.record import SELECTIONS
from lra.optimizer import Optimizer

COMPUTE_TYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long a run trains, and which of its parameters are scored.

    Attributes:
      steps: optimiser steps in all.
      optimizer: the section of the optimiser.
      batch_size: examples in a training batch, for each seed.
      microbatch: examples of a batch that are computed at once. The gradients of all of a batch are added up before
        the optimiser sees them, so that it only takes less memory and more time. It divides batch_size; None is all.
      buckets: batches whose examples are sorted by length among each other, so that examples of one length share a
        batch (see docs/protocols.md); None for batches without regard to lengths.
      log_every: steps between two lines of the log.
      eval_every: steps between two evaluations of the whole validation split.
      eval_batch_size: the most examples in a batch of an evaluation, for each seed. They are fewer if it would take
        more memory than a train step.
      select: "last" scores the parameters after the last step, "best" those with the highest validation accuracy;
        a task without a validation split has only the last.
      compute_type: "float32" or "bfloat16", the type of matrix products and of tokens inside the model. Parameters,
        the optimiser and sums are float32 always.
    """

    steps: int
    optimizer: Optimizer
    batch_size: int = 32
    microbatch: int | None = None
    buckets: int | None = None
    log_every: int = 50
    eval_every: int = 500
    eval_batch_size: int = 64
    select: str = "last"
    compute_type: str = "float32"

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "microbatch", "buckets", "log_every", "eval_every", "eval_batch_size"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise UsageError(f"train.{name} = {getattr(self, name)!r} is not a whole number of at least 1")
        if self.select not in SELECTIONS:
            raise unknown("selection", self.select, SELECTIONS)
        if self.compute_type not in COMPUTE_TYPES:
            raise unknown("compute type", self.compute_type, COMPUTE_TYPES)
        if self.batch_size % self.at_once:
            divisors = [str(number) for number in range(1, self.batch_size) if self.batch_size % number == 0]
            raise UsageError(
                f"train.microbatch = {self.microbatch} does not divide train.batch_size = {self.batch_size}; "
                f"{', '.join(divisors[-8:])} do"
            )

    @property
    def at_once(self) -> int:
        """The examples of one seed that are computed at once."""
        return self.microbatch or self.batch_size
