"""The sections of a configuration: one table of what may be set, by name.

A section is a frozen dataclass whose fields are its parameters. The sections of the tasks and of the variants come from
their registries. A new optimiser, schedule or part of a model is one entry here.
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
      load: gives the frozen dataclass of the parameters; it is called late, since most of them import JAX.
      documented: gives the class or function whose docstring says what they mean.
      set_by: who may set them: "anyone", or "protocol", which is the protocol's own file.
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
        """What the docstring says of the parameters, by name."""
        return meanings(self.documented())


@functools.cache
def hints_of(schema: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(schema)
    return {field.name: hints[field.name] for field in dataclasses.fields(schema)}


def entry(name: str, place: str, set_by: str = "anyone") -> Section:
    """The section whose dataclass is at a place, as in "lra.protocol:Protocol"."""
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
    """A section, a task's or a variant's.

    Raises:
      UsageError: there is none of that name; offers the nearest.
    """
    if name in SECTIONS:
        return SECTIONS[name]
    from lra.tasks import TASKS

    if name in TASKS:
        load = lambda: typing.cast(type[Any], TASKS[name].source)
        return Section(name, load, load)
    from lra.models.attention import VARIANTS

    if name in VARIANTS:
        return Section(name, lambda: VARIANTS[name].options, lambda: VARIANTS[name].make)
    raise unknown("section, task or variant", name, [*SECTIONS, *TASKS, *VARIANTS])


def section_of(value: Any) -> Section | None:
    """The section whose object a value is; None for any other value."""
    if not dataclasses.is_dataclass(value):
        return None
    return next((section for section in SECTIONS.values() if section.schema is type(value)), None)


def meanings(target: Any) -> dict[str, str]:
    """What the docstrings of a class, or of those that it extends, or of a function say of parameters, by name.

    In a docstring's `Args:` and `Attributes:` a line reads `name: meaning` or `one, other: meaning`.
    """
    texts: dict[str, str] = {}
    for documented in reversed(target.__mro__) if inspect.isclass(target) else [target]:
        text = inspect.cleandoc(documented.__doc__ or "")
        for block in re.findall(r"^(?:Args|Attributes):\n((?:[ ].*\n?|\n)+)", text, re.M):
            for entry in re.findall(r"^  (\w+(?:, \w+)*): ((?:.*\n?)(?:^    .*\n?)*)", block, re.M):
                texts |= dict.fromkeys(entry[0].split(", "), " ".join(entry[1].split()))
    return texts
