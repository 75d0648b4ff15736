"""The options of a variant: its keyword arguments, as a type."""

import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Any

from lra.typed import is_plain, shown, typed

# what the arena hands to a class and to a function: these are no options
OF_A_CLASS = {"self", "shape", "rngs"}
OF_A_FUNCTION = {"q", "k", "v", "mask", "dropout"}


def options_type(name: str, target: Callable[..., Any]) -> type[Any]:
    """A frozen dataclass with a field for each keyword argument of a class or function, of its type and default.

    An argument without an annotation has the type of its default; one without a default must be set. A default is a
    value of its option whatever the annotation says, as None is where an author writes `int = None`.

    Raises:
      ValueError: a default could be changed, as a list, or is nothing that a configuration can say.
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
        if not option.isascii():
            raise ValueError(f"its option '{option}' cannot be set, since gin has no such letters; take others")
        default = parameter.default
        hint = hints.get(option, type(default) if type(default) in (int, float, str, bool) else Any)
        if isinstance(default, list | dict | set):
            raise ValueError(
                f"the default of '{option}' is a {type(default).__name__}, which could be changed; take a tuple"
            )
        if default is not parameter.empty and not is_plain(default):
            raise ValueError(
                f"the default of '{option}', {shown(default)}, can stand in no record; take a number, a text or None"
            )
        if default is parameter.empty:
            fields.append((option, hint, dataclasses.field(kw_only=True)))
        else:
            fields.append((option, including(default, hint), dataclasses.field(default=default, kw_only=True)))
    return dataclasses.make_dataclass(name, fields, frozen=True)


def including(value: Any, hint: Any) -> Any:
    """The hint, widened by the type of a value that it does not take."""
    try:
        typed(value, hint)
    except ValueError:
        return typing.Union[hint, type(value)]  # noqa: UP007 - a hint need not know |
    return hint


def options_dict(options: Any) -> dict[str, Any]:
    """The options by name."""
    return {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
