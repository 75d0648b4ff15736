"""Tracks: the rules that a run must keep to be ranked under its protocol. The rules are checked on the record."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping

from lra.errors import UserError
from lra.leaderboard.config import values
from lra.leaderboard.record import SELECTIONS, Record

FIVE = ("listops", "text", "retrieval", "image", "pathfinder")  # the tasks of the literature's older average
SIX = (*FIVE, "pathx")


@dataclasses.dataclass(frozen=True)
class Track:
    """The rules of a protocol.

    Attributes:
      name: the name of the protocol.
      rules: the rules in words.
      sections: the sections that a configuration may have besides those of task and variant, e.g. "train".
      select: which step is scored, a key of SELECTIONS.
      may_override: the sections whose bindings may be given by hand; "variant" stands for the variant's own section.
      budget: the share by which a model may exceed the Transformer's parameter count; None without such a rule.
      parameters_of_reference: gives the Transformer's parameter count on a task under this protocol. It raises a
        UserError if the protocol does not have the task. It is called only if there is a budget.
    """

    name: str
    rules: str
    sections: frozenset[str]
    select: str
    may_override: tuple[str, ...]
    budget: float | None
    parameters_of_reference: Callable[[str], int]


def breaches(record: Record, track: Track | None) -> tuple[str, ...]:
    """The rules of its protocol's track that a run breaks, in words; empty if it may be ranked."""
    if track is None:
        return (f"protocol '{record.protocol.name}' is no track",)
    return tuple(broken(record, track))


def broken(record: Record, track: Track) -> Iterator[str]:
    task, variant = record.task.name, record.variant.name
    yield from over_budget(record, track)
    free = tuple(f"{variant if section == 'variant' else section}." for section in track.may_override)
    if others := [line for line in record.protocol.overrides if not line.startswith(free)]:
        yield f"changes the protocol ({', '.join(others)})"
    try:
        config = values(record)
    except UserError as error:
        yield f"its configuration cannot be read ({error})"
        return
    if unknown := sorted({name.rpartition(".")[0] for name in config} - {*track.sections, task, variant}):
        yield f"sets what the protocol does not have ({', '.join(unknown)})"
    # a task without a validation split has only the last step
    select = track.select if record.task.examples.validation else "last"
    if record.selection != SELECTIONS[select] or config.get("train.select") != repr(select):
        yield f"scores by {record.selection}, the track by {SELECTIONS[select]}"
    elif wrong := [seed for place, seed in enumerate(record.seeds) if not selected(record, place, select, config)]:
        yield f"the scored step of seed {', '.join(str(seed.seed) for seed in wrong)} is not the {SELECTIONS[select]}"


def over_budget(record: Record, track: Track) -> Iterator[str]:
    if track.budget is None:
        return
    try:
        allowed = (1 + track.budget) * (reference := track.parameters_of_reference(record.task.name))
    except UserError as error:
        yield f"its parameters cannot be compared with the Transformer's ({error})"
        return
    if record.parameters > allowed:
        excess = record.parameters / reference - 1
        yield f"{excess:.0%} more parameters than the Transformer ({track.budget:.0%} allowed)"


def selected(record: Record, place: int, select: str, config: Mapping[str, str]) -> bool:
    """Whether the scored step of a seed is the one that the rule selects on the run's own curve.

    Args:
      place: the position of the seed in the record.
    """
    seed = record.seeds[place]
    if seed.status != "ok":
        return True
    if select == "last":
        return config.get("train.steps") == str(seed.step)
    accuracy = {line.step: line.accuracy[place] for line in record.curve if line.split == "validation"}
    best = max((share for share in accuracy.values() if share is not None), default=None)
    own = accuracy.get(seed.step)
    # the training loop compares accuracies in float32
    return own is not None and best is not None and math.isclose(own, best, rel_tol=1e-6)
