"""The tracks of the project's protocols, made from the rules in their gin files."""

import functools
from collections.abc import Mapping

from lra.configuration import statements
from lra.errors import UsageError
from lra.leaderboard.tracks import Track
from lra.recipe import files_of, protocol_named, protocols
from lra.sections import SECTIONS


@functools.cache
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
            values=functools.partial(values_of_protocol, name),
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


@functools.cache
def values_of_protocol(protocol: str, task: str, variant: str) -> Mapping[str, str]:
    """What a protocol's files set for a task and a variant, in Python's notation, by the name of the parameter.

    It is empty if the protocol does not have the task. This does not import JAX.
    """
    try:
        texts = [path.read_text("utf-8") for path in files_of(task, variant, protocol)]
    except UsageError:
        return {}
    bound = [statement for text in texts for statement in statements(text)]
    return {f"{section}.{parameter}": repr(value) for section, parameter, value, _ in bound}
