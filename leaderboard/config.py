"""Configurations as data: gin bindings of plain values, of which nothing is imported, included or called."""

import ast
import json
import re
from collections.abc import Iterable

from lra.errors import UserError
from lra.files import sha256_text
from lra.leaderboard.record import Identity, Record, identity_of

BINDING = re.compile(r"([A-Za-z_]\w*\.[A-Za-z_]\w*) = (\S.*)")
REFERENCE = re.compile(r"@[A-Za-z_]\w*\(\)")  # to the section of an optimiser or a schedule
LONGEST = 10_000
OF_OLD = {"train.optimizer": "@adamw()"}  # what configurations did not name before schema 3, since it was the only one


def values(record: Record) -> dict[str, str]:
    """The bindings of a record's configuration by name, each value in Python's own notation.

    Raises:
      UserError: a line is no plain binding; quotes it.
    """
    bindings = bindings_of(record.config)
    return OF_OLD | bindings if record.parameter_tree_sha256 is None else bindings


def identity_sha256(record: Record) -> str:
    """The hash of what a record's configuration says, in whatever notation; of its text where that is not plain."""
    try:
        numbers = {name: comparable(value) for name, value in values(record).items()}
        return sha256_text(json.dumps(numbers, sort_keys=True))
    except UserError:
        return record.config_sha256


def comparable(value: str | None) -> str | None:
    """A value in one notation: 1 and 1.0 are one number, which older records wrote as it was given."""
    return f"{value}.0" if value and re.fullmatch(r"-?\d{1,15}", value) else value


def configuration_of(record: Record) -> Identity:
    """What records have in common whose seeds count together, in whatever notation their configurations are."""
    return identity_of(record)._replace(config_sha256=identity_sha256(record), seeds=())


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
    bindings: dict[str, str] = {}
    for line in lines:
        match = BINDING.fullmatch(line) if len(line) <= LONGEST else None
        if not match:
            raise UserError(f"{line!r:.100} is no plain binding NAME.PARAMETER = VALUE")
        name, value = match.groups()
        if name in bindings:
            raise UserError(f"{name} is bound twice")
        bindings[name] = literal(name, value)
    return bindings


def literal(name: str, text: str) -> str:
    """A value as `repr` writes it, so that nothing else of the text is left; or one of our optimisers and schedules.

    Raises:
      UserError: it is neither a number, a text, None, a truth value, nor a tuple, list or dict of them.
    """
    if REFERENCE.fullmatch(text):
        return text
    try:
        return repr(ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise UserError(f"{name} = {text:.100} is no plain value, and no other is taken from a record") from error
