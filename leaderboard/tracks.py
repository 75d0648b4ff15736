"""Tracks: the rules that a run must keep to be ranked under its protocol. The rules are checked on the record."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from lra.errors import UserError
from lra.leaderboard.config import comparable, is_outside, plain, values
from lra.leaderboard.record import ENVIRONMENT, SELECTIONS, Record, VariantInfo

FIVE = ("listops", "text", "retrieval", "image", "pathfinder")  # the tasks of the literature's older average
SIX = (*FIVE, "pathx")
LEARNING_RATE = "cosine.base"  # the parameter that `Track.learning_rates` are values of


@dataclasses.dataclass(frozen=True)
class Track:
    """The rules of a protocol.

    Attributes:
      name: the name of the protocol.
      rules: the rules in words.
      sections: the sections that a configuration may have besides those of task and variant, e.g. "train".
      select: which step is scored, a key of SELECTIONS.
      may_override: the sections and parameters that may be given by hand; "variant" stands for the variant's own
        section.
      budget: the share by which a model may exceed the Transformer's parameter count; None without such a rule.
      parameters_of_reference: gives the Transformer's parameter count on a task under this protocol. It raises a
        UserError if the protocol does not have the task. It is called only if there is a budget.
      values: gives what the protocol's files set for a task and a variant, and what the record's file with the
        variant's own sizes may set, by the name of the parameter. It is empty if the protocol does not have the task.
      learning_rates: the learning rates from which a variant may have the one that is best on validation; empty where
        all have the same.
    """

    name: str
    rules: str
    sections: frozenset[str]
    select: str
    may_override: tuple[str, ...]
    budget: float | None
    parameters_of_reference: Callable[[str], int]
    values: Callable[[str, VariantInfo], Mapping[str, str]]
    learning_rates: tuple[float, ...] = ()


class Changes(NamedTuple):
    """The parameters of a run that are not its protocol's: sorted bindings with their effective values.

    Attributes:
      variant: those of the variant's own section, without its name.
      environment: the settings from outside, without the name of their section.
      others: all others.
    """

    variant: tuple[str, ...]
    environment: tuple[str, ...]
    others: tuple[str, ...]


def changes(record: Record, track: Track | None) -> Changes:
    """The parameters of a run that are not its protocol's. Neither their notation nor who set them matters. A learning
    rate that the protocol lets a variant choose is the protocol's.

    A parameter that no file of the protocol sets counts if it was given by hand.
    """
    lines = record.protocol.overrides
    try:
        config, by_hand = values(record), plain(lines)
        of_protocol = track.values(record.task.name, record.variant) if track else {}
        changed = [key for key in by_hand if key not in of_protocol]
        changed += [
            key for key in of_protocol.keys() & config.keys() if comparable(config[key]) != comparable(of_protocol[key])
        ]
        changed += [key for key in config if is_outside(key)]
        rates = {comparable(repr(rate)) for rate in track.learning_rates} if track else set()
        changed = [key for key in changed if key != LEARNING_RATE or comparable(config.get(key)) not in rates]
        lines = tuple(sorted(f"{key} = {config.get(key, by_hand.get(key))}" for key in changed))
    except UserError:
        pass  # a configuration that cannot be read; the run is not ranked
    own, outside = f"{record.variant.name}.", f"{ENVIRONMENT}."
    return Changes(
        tuple(line.removeprefix(own) for line in lines if line.startswith(own)),
        tuple(line.removeprefix(outside) for line in lines if line.startswith(outside)),
        tuple(line for line in lines if not line.startswith((own, outside))),
    )


def breaches(record: Record, track: Track | None) -> tuple[str, ...]:
    """Why a run is not ranked, in words: the rules that it breaks, and the checks that its variant fails."""
    checks = record.variant.checks
    failed = [f"fails the checks {', '.join(sorted(checks.fails))}"] if checks and checks.fails else []
    return (*broken(record, track), *failed)


def broken(record: Record, track: Track | None) -> Iterator[str]:
    """The rules of its protocol's track that a run breaks, in words."""
    if track is None:
        yield f"protocol '{record.protocol.name}' is no track"
        return
    task, variant = record.task.name, record.variant.name
    yield from over_budget(record, track)
    changed = changes(record, track)
    own = () if "variant" in track.may_override else tuple(f"{variant}.{line}" for line in changed.variant)
    free = lambda name: name in track.may_override or name.partition(".")[0] in track.may_override
    if others := [line for line in (*own, *changed.others) if not free(line.partition(" = ")[0])]:
        yield f"changes the protocol ({', '.join(others)})"
    try:
        config = values(record)
    except UserError as error:
        yield f"its configuration cannot be read ({error})"
        return
    if unknown := sorted({name.rpartition(".")[0] for name in config} - {*track.sections, task, variant, ENVIRONMENT}):
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
