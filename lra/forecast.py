"""What would make a run fit that takes more memory than there is: a smaller microbatch, or recomputed blocks."""

import dataclasses
from collections.abc import Callable, Iterator

from lra.memory import Need, words
from lra.plan import Plan

TRIES = 3  # microbatches that are compiled; each takes as long as the run's own compilation


def ways_out(plan: Plan, need: Need, room: int, need_of: Callable[[Plan], Need]) -> str:
    """What the user may say instead, and what it takes, in words.

    Args:
      need: what the plan takes.
      room: the bytes that a device has.
      need_of: compiles the train step of a plan.
    """
    found = [*remat(plan, room, need_of), *microbatches(plan, need, room, need_of)]
    return " or ".join(found) or "neither train.microbatch nor encoder.remat makes it fit; train fewer seeds at once"


def less_memory(plan: Plan) -> str:
    """What takes less memory than the plan, in words."""
    now = plan.train.at_once
    smaller = [size for size in range(1, now) if plan.train.batch_size % size == 0]
    options = [f"train.microbatch = {smaller[-1]}"] if smaller else []
    options += [] if plan.encoder.remat else ["encoder.remat = True"]
    gin = " or ".join(f"--gin '{option}'" for option in options)
    return f"{gin or 'fewer seeds'} takes less memory, as another run"


def remat(plan: Plan, room: int, need_of: Callable[[Plan], Need]) -> Iterator[str]:
    """Recomputed blocks, if they fit."""
    if plan.encoder.remat:
        return
    takes = need_of(dataclasses.replace(plan, encoder=dataclasses.replace(plan.encoder, remat=True))).total
    if takes <= room:
        yield option("encoder.remat = True", takes)


def microbatches(plan: Plan, need: Need, room: int, need_of: Callable[[Plan], Need]) -> Iterator[str]:
    """The largest microbatch that fits, if one does."""
    now = plan.train.at_once
    smaller = [size for size in range(now - 1, 0, -1) if plan.train.batch_size % size == 0]
    expected = lambda size: need.arguments + need.temporary * size / now
    for size in [size for size in smaller if expected(size) <= room][:TRIES]:
        takes = need_of(dataclasses.replace(plan, train=dataclasses.replace(plan.train, microbatch=size))).total
        if takes <= room:
            yield option(f"train.microbatch = {size}", takes)
            return


def option(binding: str, takes: int) -> str:
    """A binding as a user types it, with the bytes that the run then takes."""
    return f"--gin '{binding}' ({words(takes)})"
