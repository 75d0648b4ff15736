"""Gin bindings that come from a record: data, of which nothing is imported, included or called."""

import ast
import re
from collections.abc import Iterable

from lra.errors import UserError

BINDING = re.compile(r"([A-Za-z_]\w*\.[A-Za-z_]\w*) = (\S.*)")
SCHEDULES = ("@cosine()", "@rsqrt()")  # of lra.optimizer
LONGEST = 10_000


def bindings_of(config: str) -> dict[str, str]:
    """The parameters of an operative configuration and their values, each in Python's own notation.

    Raises:
      UserError: a line is anything but `NAME.PARAMETER = VALUE`; quotes it.
    """
    lines: list[str] = []
    for line in config.split("\n"):
        if lines and line[:1] in (" ", ")", "]", "}"):  # gin goes on with long values on the next line
            lines[-1] += f" {line.strip()}"
        elif line:
            lines.append(line)
        if lines:
            lines[-1] = lines[-1].removesuffix("\\").rstrip()
    return plain(lines)


def plain(lines: Iterable[str]) -> dict[str, str]:
    """The same of single bindings.

    Raises:
      UserError: one is not plain, or stands there twice.
    """
    found: dict[str, str] = {}
    for line in lines:
        match = BINDING.fullmatch(line) if len(line) <= LONGEST else None
        if not match:
            raise UserError(f"{line!r:.100} is no plain binding NAME.PARAMETER = VALUE")
        name, value = match.groups()
        if name in found:
            raise UserError(f"{name} is bound twice")
        found[name] = literal(name, value)
    return found


def literal(name: str, text: str) -> str:
    """A value as `repr` writes it, so that nothing else of the text is left; or one of our schedules.

    Raises:
      UserError: it is neither a number, a text, None, a truth value, nor a tuple, list or dict of them.
    """
    if text in SCHEDULES:
        return text
    try:
        return repr(ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise UserError(f"{name} = {text:.100} is no plain value, and no other is taken from a record") from error
