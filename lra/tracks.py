"""The tracks of the project's protocols, made from the rules in their gin files."""

import functools
from collections.abc import Mapping
from typing import Any

from lra.configuration import Malformed, statements
from lra.errors import UsageError
from lra.leaderboard.record import VariantInfo
from lra.leaderboard.tracks import Track
from lra.models.source.sizes import path_of_sizes
from lra.recipe import Values, may_set, protocol_named, protocols, recipes_of
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
            learning_rates=rules[name].learning_rates,
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


def values_of_protocol(protocol: str, task: str, variant: VariantInfo) -> Mapping[str, str]:
    """What a protocol's files set for a task and a variant, in Python's notation, by the name of the parameter.

    For a variant from outside, the file with its own sizes counts too, if it is among the sources in the record: but
    only what such a file may set. It is empty if the protocol does not have the task. This does not import JAX.
    """
    values = values_of_files(protocol, task, variant.name)
    own = own_values(protocol, task, variant, values)
    return {".".join(key): repr(value) for key, value in (values | own).items()}


@functools.cache
def values_of_files(protocol: str, task: str, variant: str) -> dict[tuple[str, str], Any]:
    """What a protocol's files set for a task and a variant; empty if the protocol does not have the task."""
    try:
        texts = [recipe.text for recipe in recipes_of(task, variant, protocol)]
    except UsageError:
        return {}
    bound = [statement for text in texts for statement in statements(text)]
    return {(section, parameter): value for section, parameter, value, _ in bound}


def own_values(protocol: str, task: str, variant: VariantInfo, below: Values) -> dict[tuple[str, str], Any]:
    """What a record's file with sizes of its variant sets, and may set. The file is parsed, and nothing is executed.

    Args:
      below: what the protocol's files set.
    """
    sources = variant.sources or {}
    path = path_of_sizes(next(iter(sources), ""), variant.name, protocol, task)
    if path not in sources:
        return {}
    try:
        bound = statements(sources[path])
    except Malformed:
        return {}
    rules = protocol_named(protocol)
    own = {(section, parameter): value for section, parameter, value, _ in bound}
    return {key: value for key, value in own.items() if may_set(key, value, variant.name, rules, below)}
