"""Configurations as data: gin bindings of plain values. Nothing in them is imported, included or called."""

import ast
import json
import re
from collections.abc import Iterable

from lra.errors import UserError
from lra.files import sha256_text
from lra.leaderboard.record import ENVIRONMENT, Identity, Record, identity_of

BINDING = re.compile(r"([A-Za-z_]\w*\.[A-Za-z_]\w*) *= *(\S.*)")
REFERENCE = re.compile(r"@[A-Za-z_]\w*\(\)")  # a reference to the section of an optimiser or a schedule
LONGEST = 10_000  # characters of a line
# parameters that configurations lack if they were written before there was a choice, with what was the only value
OF_OLD = {
    "train.compute_type": "'float32'", "train.microbatch": "None", "train.buckets": "None", "encoder.remat": "False"
}  # fmt: skip
BEFORE_SCHEMA_3 = {"train.optimizer": "@adamw()"}


def values(record: Record) -> dict[str, str]:
    """The values of a record's configuration in Python's own notation, by the name of the parameter. What an old record
    lacks, because there was no choice yet, has the value that was the only one.

    Raises:
      UserError: a line is not a plain binding; the message quotes the line.
    """
    old = OF_OLD | BEFORE_SCHEMA_3 if record.parameter_tree_sha256 is None else OF_OLD
    return old | bindings_of(record.config)


def environment_of(record: Record) -> tuple[str, ...]:
    """The settings from outside under which a run was trained, as `NAME = VALUE`.

    Raises:
      UserError: as `values`.
    """
    settings = ((name.partition(".")[2], value) for name, value in values(record).items() if is_outside(name))
    return tuple(f"{name} = {value}" for name, value in settings)


def is_outside(name: str) -> bool:
    """Whether a parameter is a setting from outside: whether its section is `environment`."""
    return name.startswith(f"{ENVIRONMENT}.")


def identity_sha256(record: Record) -> str:
    """A hash of a record's configuration that does not depend on the notation.

    If the configuration has a line that is not a plain binding, it is the hash of its text.
    """
    try:
        numbers = {name: comparable(value) for name, value in values(record).items()}
        return sha256_text(json.dumps(numbers, sort_keys=True))
    except UserError:
        return record.config_sha256


def comparable(value: str | None) -> str | None:
    """A value in one notation. Older records have numbers as they were typed, so 1 and 1.0 are made equal."""
    return f"{value}.0" if value and re.fullmatch(r"-?\d{1,15}", value) else value


def configuration_of(record: Record) -> Identity:
    """What decides the outcome of a run besides its seeds. Records that agree in it are merged into one row."""
    return identity_of(record)._replace(config_sha256=identity_sha256(record), seeds=())


def bindings_of(config: str) -> dict[str, str]:
    """The values of a configuration in Python's own notation, by the name of the parameter.

    Raises:
      UserError: a line is not `NAME.PARAMETER = VALUE`; the message quotes the line.
    """
    lines: list[str] = []
    for line in config.split("\n"):
        if lines and line[:1] in (" ", ")", "]", "}"):  # old records were written by gin, which wraps long values
            lines[-1] += f" {line.strip()}"
        elif line:
            lines.append(line)
        if lines:
            lines[-1] = lines[-1].removesuffix("\\").rstrip()
    return plain(lines)


def plain(lines: Iterable[str]) -> dict[str, str]:
    """The values of bindings, one a line, in Python's own notation, by the name of the parameter.

    Raises:
      UserError: a binding is not plain, or a parameter is bound twice.
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
    """A literal as `repr` writes it, or a reference to a section as it is written.

    Raises:
      UserError: the text is neither a reference nor a literal: a number, a text, None, True, False, or a tuple, list or
        dict of them.
    """
    if REFERENCE.fullmatch(text):
        return text
    try:
        return repr(ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise UserError(f"{name} = {text:.100} is no plain value, and no other is taken from a record") from error
