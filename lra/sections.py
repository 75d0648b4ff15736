"""The sections of a configuration, by name.

A section is a frozen dataclass whose fields are the parameters. Tasks and variants are sections too.
A new optimiser, schedule or part of a model is one entry here.
"""

import dataclasses
import functools
import importlib
import inspect
import re
import typing
from collections.abc import Callable
from typing import Any

from lra.errors import unknown


@dataclasses.dataclass(frozen=True)
class Section:
    """A named group of parameters.

    Attributes:
      load: returns the frozen dataclass of the parameters. It is called late, since most of the modules import JAX.
      documented: returns the class or function whose docstring explains the parameters.
      set_by: who may set the parameters: "anyone", or "protocol", which is the file of a protocol.
    """

    name: str
    load: Callable[[], type[Any]]
    documented: Callable[[], Any]
    set_by: str = "anyone"

    @property
    def schema(self) -> type[Any]:
        """The frozen dataclass of the parameters."""
        return self.load()

    @property
    def hints(self) -> dict[str, Any]:
        """The types of the parameters, by name."""
        return hints_of(typing.cast(Any, self.schema))

    @property
    def meanings(self) -> dict[str, str]:
        """The meanings of the parameters from the docstring, by name."""
        return meanings(self.documented())


@functools.cache
def hints_of(schema: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(schema)
    return {field.name: hints[field.name] for field in dataclasses.fields(schema)}


def entry(name: str, place: str, set_by: str = "anyone") -> Section:
    """A section whose dataclass is at a place like "lra.protocol:Protocol"."""
    module, _, attribute = place.partition(":")
    load = lambda: getattr(importlib.import_module(module), attribute)
    return Section(name, load, load, set_by)


SECTIONS: dict[str, Section] = {
    section.name: section
    for section in (
        entry("protocol", "lra.protocol:Protocol", set_by="protocol"),
        entry("train", "lra.train_config:TrainConfig"),
        entry("encoder", "lra.models.encoder:EncoderConfig"),
        entry("pair", "lra.models.pair:PairConfig"),
        entry("adamw", "lra.optimizer:AdamW"),
        entry("rsqrt", "lra.optimizer:Rsqrt"),
        entry("cosine", "lra.optimizer:Cosine"),
    )
}


def section_named(name: str) -> Section:
    """The section of that name. Tasks and variants are sections too.

    Raises:
      UsageError: there is no such section; the message offers the nearest.
    """
    if name in SECTIONS:
        return SECTIONS[name]
    from lra.tasks import TASKS

    if name in TASKS:
        load = lambda: typing.cast(type[Any], TASKS[name].source)
        return Section(name, load, load)
    from lra.models.attention import VARIANTS
    from lra.models.attention.elsewhere import file_that_registers, unknown_variant

    if name in VARIANTS:
        return Section(name, lambda: VARIANTS[name].options, lambda: VARIANTS[name].make)
    if file_that_registers(name):
        raise unknown_variant(name, VARIANTS)
    raise unknown("section, task or variant", name, [*SECTIONS, *TASKS, *VARIANTS])


def section_of(value: Any) -> Section | None:
    """The section whose object a value is; None for any other value."""
    if not dataclasses.is_dataclass(value):
        return None
    return next((section for section in SECTIONS.values() if section.schema is type(value)), None)


def meanings(target: Any) -> dict[str, str]:
    """The meanings of parameters from the docstring of a function, or of a class and its base classes, by name.

    Entries of `Args:` and `Attributes:` have the form `name: meaning` or `one, other: meaning`.
    """
    texts: dict[str, str] = {}
    for documented in reversed(target.__mro__) if inspect.isclass(target) else [target]:
        text = inspect.cleandoc(documented.__doc__ or "")
        for block in re.findall(r"^(?:Args|Attributes):\n((?:[ ].*\n?|\n)+)", text, re.M):
            for entry in re.findall(r"^  (\w+(?:, \w+)*): ((?:.*\n?)(?:^    .*\n?)*)", block, re.M):
                texts |= dict.fromkeys(entry[0].split(", "), " ".join(entry[1].split()))
    return texts
