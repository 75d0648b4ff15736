"""The sections of a configuration: one table of what may be set, by name.

A section is a frozen dataclass whose fields are its parameters. The sections of the tasks and of the variants come from
their registries. A new optimiser, schedule or part of a model is one entry here.
"""

import dataclasses
import functools
import inspect
import re
import typing
from typing import Any

from lra.errors import unknown
from lra.models.attention import VARIANTS
from lra.models.encoder import EncoderConfig
from lra.models.pair import PairConfig
from lra.optimizer import AdamW, Cosine, Rsqrt
from lra.protocol import Protocol
from lra.tasks import TASKS
from lra.train_config import TrainConfig


@dataclasses.dataclass(frozen=True)
class Section:
    """A named group of parameters.

    Attributes:
      schema: the frozen dataclass of the parameters.
      documented: the class or function whose docstring says what they mean.
      set_by: who may set them: "anyone", or "protocol", which is the protocol's own file.
    """

    name: str
    schema: type[Any]
    documented: Any = None
    set_by: str = "anyone"

    @property
    def hints(self) -> dict[str, Any]:
        """The types of the parameters, by name."""
        return hints_of(self.schema)

    @property
    def meanings(self) -> dict[str, str]:
        """What the docstring says of the parameters, by name."""
        return meanings(self.documented or self.schema)


@functools.cache
def hints_of(schema: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(schema)
    return {field.name: hints[field.name] for field in dataclasses.fields(schema)}


SECTIONS: dict[str, Section] = {
    section.name: section
    for section in (
        Section("protocol", Protocol, set_by="protocol"),
        Section("train", TrainConfig),
        Section("encoder", EncoderConfig),
        Section("pair", PairConfig),
        Section("adamw", AdamW),
        Section("rsqrt", Rsqrt),
        Section("cosine", Cosine),
    )
}
BY_SCHEMA = {section.schema: section for section in SECTIONS.values()}


def section_named(name: str) -> Section:
    """A section, a task's or a variant's.

    Raises:
      UsageError: there is none of that name; offers the nearest.
    """
    if name in SECTIONS:
        return SECTIONS[name]
    if name in TASKS:
        return Section(name, TASKS[name].source)
    if name in VARIANTS:
        return Section(name, VARIANTS[name].options, VARIANTS[name].make)
    raise unknown("section, task or variant", name, [*SECTIONS, *TASKS, *VARIANTS])


def section_of(value: Any) -> Section | None:
    """The section whose object a value is; None for any other value."""
    return BY_SCHEMA.get(type(value))


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
