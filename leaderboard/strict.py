"""JSON that anyone may have written, read into structs: no field too many or too few, no number out of range."""

import re
import sys
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from lra.errors import UserError

T = TypeVar("T")
WholeNumber = Annotated[int, Meta(ge=-(2**63) + 1, le=2**63 - 1)]  # what floats and other languages can hold
Number = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]  # neither NaN nor infinite
# msgspec itself refuses 1e999 without saying where; as infinity it is refused by `Number`, with its place
DECODER = msgspec.json.Decoder(float_hook=float)
PLACE = re.compile(r"(.*?)(?: - at `\$(.*)`)?", re.DOTALL)  # of msgspec's messages


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON object with exactly the fields of a subclass."""


def decode(text: bytes) -> Any:
    """The plain dicts, lists, texts and numbers that a JSON text holds.

    Raises:
      ValueError: the text is not JSON. NaN, Infinity and half a surrogate pair are not.
      RecursionError: the text is nested too deeply.
    """
    return DECODER.decode(text)


def shaped(content: Any, kind: type[T], name: str) -> T:
    """What `decode` gave, as a struct of a kind.

    Raises:
      UserError: the content does not have the shape of that kind; names the place in it, which begins with `name`.
    """
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        message = str(error)
    problem, path = PLACE.fullmatch(message).groups()  # type: ignore[union-attr]
    place = name + keys_on(path or "", content, lambda: refusal(content, kind) == message)
    if problem.startswith("Object missing required field"):
        raise UserError(f"{place} lacks '{problem.split('`')[1]}'")
    raise UserError(f"{place}: {problem:.200}")


def refusal(content: Any, kind: type) -> str:
    """Why msgspec does not take a content for a kind; empty if it does."""
    try:
        msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        return str(error)
    return ""


def keys_on(path: str, content: Any, still: Callable[[], bool]) -> str:
    """The keys on a path of msgspec's, with dots; it has "[...]" for a key of a dict, which is looked for here."""
    keys = ""
    try:
        for field, index in re.findall(r"\.(\w+)|\[(\d+|\.\.\.)\]", path):
            key = culprit(content, still) if index == "..." else int(index) if index else field
            content = content[key]
            keys += f".{key!s:.100}"
    except (LookupError, TypeError, AttributeError):
        pass  # the name of an unknown field looks like a path
    return keys


def culprit(container: dict[str, Any], still: Callable[[], bool]) -> str:
    """The key of the first value that is refused: of those that it may be, half are left out until one is left.

    Args:
      still: whether the whole, with the container as it is by then, is refused for the same reason.
    """
    items = list(container.items())
    good, bad = 0, len(items)  # so many of the first items are not refused, and are
    while bad - good > 1:
        middle = (good + bad) // 2
        container.clear()
        container.update(items[:middle])
        good, bad = (good, middle) if still() else (middle, bad)
    container.update(items)
    return items[bad - 1][0]
