"""The options of a variant: its keyword arguments, as a type."""

import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Any

# what the arena hands to a class and to a function: these are no options
OF_A_CLASS = {"self", "shape", "rngs"}
OF_A_FUNCTION = {"q", "k", "v", "mask", "dropout"}


def options_type(name: str, target: Callable[..., Any]) -> type[Any]:
    """A frozen dataclass with a field for each keyword argument of a class or function, of its type and default.

    An argument without an annotation has the type of its default; one without a default must be set.

    Raises:
      ValueError: a default is a list, a dict or a set, which could be changed.
    """
    function = target.__init__ if inspect.isclass(target) else target
    given = OF_A_CLASS if inspect.isclass(target) else OF_A_FUNCTION
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # annotations that cannot be evaluated here, as those under TYPE_CHECKING
        hints = {}
    fields: list[Any] = []
    for option, parameter in inspect.signature(function).parameters.items():
        if option in given or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        default = parameter.default
        hint = hints.get(option, type(default) if type(default) in (int, float, str, bool) else Any)
        if isinstance(default, list | dict | set):
            raise ValueError(f"the default of '{option}' is a {type(default).__name__}, which could be changed")
        if default is parameter.empty:
            fields.append((option, hint, dataclasses.field(kw_only=True)))
        else:
            fields.append((option, hint, dataclasses.field(default=default, kw_only=True)))
    return dataclasses.make_dataclass(name, fields, frozen=True)


def options_dict(options: Any) -> dict[str, Any]:
    """The options by name."""
    return {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
