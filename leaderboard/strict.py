"""Reads JSON that anyone may have written into structs. Unknown fields and numbers out of range are refused."""

import re
import sys
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from lra.errors import UserError

T = TypeVar("T")
WholeNumber = Annotated[
    int, Meta(ge=-(2**63) + 1, le=2**63 - 1)
]  # the range of signed 64-bit integers in other languages
Number = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]  # neither NaN nor infinite
# msgspec refuses 1e999 without naming its place; with the hook it is infinity, which `Number` refuses with its place
DECODER = msgspec.json.Decoder(float_hook=float)
PLACE = re.compile(r"(.*?)(?: - at `\$(.*)`)?", re.DOTALL)  # splits a message of msgspec


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON object with exactly the fields of a subclass."""


def decode(text: bytes) -> Any:
    """The content of a JSON text as plain dicts, lists, texts and numbers.

    Raises:
      ValueError: the text is not JSON, which has no NaN, no Infinity and no half of a surrogate pair.
      RecursionError: the text is nested too deeply.
    """
    return DECODER.decode(text)


def shaped(content: Any, kind: type[T], name: str) -> T:
    """The content that `decode` returned, as a struct.

    Args:
      kind: the class of the struct.
      name: what errors call the content.

    Raises:
      UserError: the content does not fit the struct; the message names the place in the content.
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
    """Why msgspec refuses to convert a content to a kind; empty if it does not refuse."""
    try:
        msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        return str(error)
    return ""


def keys_on(path: str, content: Any, still: Callable[[], bool]) -> str:
    """The keys on a path of msgspec, joined with dots.

    msgspec writes "[...]" instead of the key of a dict. The key is searched for here.

    Args:
      still: whether msgspec still refuses the content for the same reason, however it was changed meanwhile.
    """
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
    """The key of the first value of a dict that is refused, by bisection.

    Args:
      container: the dict; changed during the search and restored at its end.
      still: as in `keys_on`.
    """
    items = list(container.items())
    good, bad = 0, len(items)  # the first `good` items are accepted, the first `bad` are refused
    while bad - good > 1:
        middle = (good + bad) // 2
        container.clear()
        container.update(items[:middle])
        good, bad = (good, middle) if still() else (middle, bad)
    container.update(items)
    return items[bad - 1][0]
