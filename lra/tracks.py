"""The tracks of the project's protocols, made from the rules in their gin files."""

import functools

from lra.leaderboard.tracks import Track
from lra.recipe import protocol_named, protocols
from lra.sections import SECTIONS


def tracks() -> dict[str, Track]:
    """The track of each protocol, by name. Tracks with a parameter budget come first, as in tables.

    This does not import JAX.
    """
    rules = {name: protocol_named(name) for name in protocols()}
    ordered = sorted(rules, key=lambda name: (rules[name].parameter_budget is None, name))
    sections = frozenset(name for name, section in SECTIONS.items() if section.set_by == "anyone")
    return {
        name: Track(
            name=name,
            rules=rules[name].rules,
            sections=sections,
            select=rules[name].select,
            may_override=rules[name].may_override,
            budget=rules[name].parameter_budget,
            parameters_of_reference=functools.partial(parameters_of_transformer, name),
        )
        for name in ordered
    }


@functools.cache
def parameters_of_transformer(protocol: str, task: str) -> int:
    """The Transformer's parameter count on a task under a protocol.

    Raises:
      UsageError: there is no such task, or the protocol does not have it.
    """
    from lra.parameter_budget import REFERENCE, parameter_count  # imports JAX

    return parameter_count(task, REFERENCE, protocol)
