"""The rules of a protocol. Its gin files fix everything but task and variant."""

import dataclasses
from importlib.resources import files
from pathlib import Path

from lra.errors import unknown
from lra.leaderboard.record import SELECTIONS

GIN = Path(str(files("lra.gin").joinpath("protocols"))).parent


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """The rules of a protocol, as its own file sets them.

    Attributes:
      rules: the rules in words, for the captions of tables.
      select: the selection (`train.select`) of a row that is ranked.
      parameter_budget: by which share a model may have more parameters than the Transformer's on the same task (LRA,
        appendix C: 0.1); None where there is no such rule.
      may_override: the sections and parameters that a row may set by hand and still be ranked; "variant" is the
        variant's own section. What only saves memory is among them.
      may_narrow: the parameters that a variant from outside may make smaller than the protocol does, in a file of its
        own, so that it keeps within the parameter budget.
      learning_rates: values of `cosine.base`, of which each variant has the one that is best on validation. `lra
        sweep` trains them all, and a row is of the chosen one. Empty where all variants have the same.
      stand_ins: whether it runs on a task's synthetic stand-in where there is one.
    """

    rules: str
    select: str
    parameter_budget: float | None = None
    may_override: tuple[str, ...] = ("variant", "train.microbatch", "encoder.remat")
    may_narrow: tuple[str, ...] = ()
    learning_rates: tuple[float, ...] = ()
    stand_ins: bool = False

    def __post_init__(self) -> None:
        if self.select not in SELECTIONS:
            raise unknown("selection", self.select, SELECTIONS)
