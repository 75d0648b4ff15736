"""Configurations as values: bindings of parameters, and the frozen dataclasses that the bindings describe.

Files and `--gin` are written in gin and read by gin's own parser. gin's global state is not used. A value is a plain
literal or a reference to a section, `@cosine()`. Imports, includes, macros and scopes are refused, because a record
would not contain what they refer to.
"""

import dataclasses
import functools
import itertools
import re
import tokenize
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gin import config_parser

from lra.errors import UsageError, unknown
from lra.sections import SECTIONS, Section, section_named, section_of
from lra.typed import in_words, is_plain, shown, typed


@dataclasses.dataclass(frozen=True)
class Reference:
    """A reference to a section, `@cosine()`. Its value is the dataclass that the section's bindings describe."""

    section: str

    def __repr__(self) -> str:
        return f"@{self.section}()"


@dataclasses.dataclass(frozen=True)
class Binding:
    """`SECTION.PARAMETER = VALUE`.

    Attributes:
      value: a literal, or a Reference.
      where: the place of the binding for errors: the file and line, or the `--gin`.
    """

    section: str
    parameter: str
    value: Any
    where: str

    @property
    def key(self) -> tuple[str, str]:
        return self.section, self.parameter

    def __str__(self) -> str:
        return f"{self.section}.{self.parameter} = {self.value!r}"


Bindings = Mapping[tuple[str, str], Binding]
LONGEST = 9_000  # characters of a value; records are read with less than 10,000 a line
EXAMPLE = "a binding reads like 'train.steps = 500'"


@dataclasses.dataclass(frozen=True)
class Refused:
    """A value of the gin language that is refused.

    Attributes:
      text: the value as it was written.
      reason: why it is refused, or what to write instead.
    """

    text: str
    reason: str

    def __repr__(self) -> str:
        return self.text


class Delegate(config_parser.ParserDelegate):
    """Tells gin's parser what `@name` and `%name` become. It does not raise, since it does not know the line."""

    def configurable_reference(self, scoped_configurable_name: str, evaluate: bool) -> Reference | Refused:
        if evaluate and scoped_configurable_name.isidentifier():
            return Reference(scoped_configurable_name)
        return Refused(f"@{scoped_configurable_name}", "a reference reads like @cosine()")

    def macro(self, macro_name: str) -> Refused:
        return Refused(f"%{macro_name}", "macros are refused, write the value")


def parse(text: str, file: str, section: str | None = None) -> list[Binding]:
    """The checked bindings of a gin file.

    >>> parse("train.steps = 5", "my.gin")[0].value
    5

    Args:
      file: the name of the file, for errors.
      section: the section whose bindings are returned; None for all sections.

    Raises:
      UsageError: a statement is not a binding, a binding is not valid, or a parameter is bound twice; the message names
        the line.
    """
    return once(bindings_in(text, lambda line: f"{file}, line {line}", section))


def parse_override(text: str) -> Binding:
    """The checked binding of a `--gin`.

    Raises:
      UsageError: the text is not exactly one valid binding.
    """
    where = f"--gin '{shortened(text.strip())}'"
    bindings = bindings_in(text, lambda line: where)
    if len(bindings) != 1:
        raise UsageError(f"{where}: it has {len(bindings)} bindings, not one; {EXAMPLE}")
    return bindings[0]


def shortened(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:97]}..."


def bindings_in(text: str, where: Callable[[int], str], section: str | None = None) -> list[Binding]:
    """The checked bindings of a gin text; `where` gives the place of a line for errors."""
    try:
        read = [Binding(name, parameter, value, where(line)) for name, parameter, value, line in statements(text)]
    except Malformed as error:
        line, reason = error.args
        raise UsageError(f"{where(line)}: {reason}") from error
    return [checked(binding) for binding in read if section in (None, binding.section)]


class Malformed(Exception):
    """A line of a gin text is not a binding. The arguments are the line number and the reason."""


@functools.lru_cache(maxsize=1024)
def statements(text: str) -> tuple[tuple[str, str, Any, int], ...]:
    """Section, parameter, value and line number of each binding of a gin text, unchecked.

    Raises:
      Malformed: a line is not a binding.
    """
    read = []
    line = 1
    at = lambda number: [*text.splitlines()[number - 1 : number], ""][0]
    try:
        for statement in config_parser.ConfigParser(text, Delegate()):
            line = statement.location.line_num
            if isinstance(statement, config_parser.BlockDeclaration):
                continue  # the bindings of the block follow
            if not isinstance(statement, config_parser.BindingStatement):
                kind = "an import" if isinstance(statement, config_parser.ImportStatement) else "an include"
                raise Malformed(line, f"{kind} is refused; a configuration is made of bindings alone")
            if statement.scope or "." in statement.selector or not statement.arg_name:
                raise Malformed(line, f"{EXAMPLE}, without a scope")
            read.append((statement.selector, statement.arg_name, statement.value, line))
    except SyntaxError as error:
        where = error.lineno or line
        raise Malformed(where, f"{reason_of(error, at(where))}; {EXAMPLE}") from error
    except (tokenize.TokenError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise Malformed(line, f"{reason_of(error, at(line))}; {EXAMPLE}") from error
    return tuple(read)


def reason_of(error: Exception, line: str) -> str:
    """Why a line is no binding, in words.

    Args:
      line: where the parser stopped.
    """
    value = line.partition("=")[2].strip()
    if value.isidentifier():  # a bare word
        if value in SECTIONS:
            return f"{value} is no plain value, a section stands as @{value}()"
        if value.capitalize() in ("True", "False", "None"):
            return f"{value} is no plain value, write {value.capitalize()}"
        return f"{value} is no plain value, a text stands in quotes: {value!r}"
    if "=" in line and not value:
        return "it has no value"
    reason = str(error.args[0] if error.args else error).splitlines()[0].strip().rstrip(".")
    if "EOF in multi-line" in reason:
        return "a bracket is not closed"
    known = ("malformed node", "<", "Expected newline", "Expected ':'", "Unable to parse value", "invalid syntax")
    if value and any(words in reason for words in known):
        return "this is no plain value: a number, a text in quotes, True, False, None, or a tuple, list or dict of them"
    return reason


def checked(binding: Binding) -> Binding:
    """The binding with its value converted to the type of the parameter.

    Raises:
      UsageError: the section or the parameter does not exist, or the value has another type.
    """
    try:
        section = section_named(binding.section)
        hint = section.hints.get(binding.parameter)
        if hint is None:
            raise unknown(f"parameter of {binding.section}", binding.parameter, section.hints)
        refuse(binding.value)
        value = reference(binding, hint) if isinstance(binding.value, Reference) else typed_value(binding, hint)
    except UsageError as error:
        raise UsageError(f"{binding.where}: {error}") from error
    return dataclasses.replace(binding, value=value)


def refuse(value: Any, inside: bool = False) -> None:
    """Raises UsageError if a value contains something that is refused, or a reference inside another value."""
    if isinstance(value, Refused):
        raise UsageError(f"{value}: {value.reason}")
    if isinstance(value, Reference) and inside:
        raise UsageError(f"{value} stands by itself, not inside another value")
    parts = [*value, *value.values()] if isinstance(value, dict) else value
    for part in parts if isinstance(parts, list | tuple) else ():
        refuse(part, inside=True)


def typed_value(binding: Binding, hint: Any) -> Any:
    if is_sectioned(hint):
        raise UsageError(f"{binding.section}.{binding.parameter} is a section, as in @{examples(hint)[0]}()")
    try:
        value = typed(binding.value, hint)
    except ValueError as error:
        raise UsageError(f"{binding.section}.{binding.parameter} = {error}") from error
    if not is_plain(value) or len(repr(value)) > LONGEST:  # infinity, where any value is taken
        raise UsageError(f"{binding.section}.{binding.parameter} = {shown(value)} can stand in no record")
    return value


def reference(binding: Binding, hint: Any) -> Reference:
    if not is_sectioned(hint):
        kind = f"not {in_words(hint)}" if hint is not Any else "a section, where a value is wanted"
        raise UsageError(f"{binding.section}.{binding.parameter} = {binding.value!r} is {kind}")
    if binding.value.section not in examples(hint):
        raise unknown(hint.__name__.lower(), binding.value.section, examples(hint))
    return binding.value


def is_sectioned(hint: Any) -> bool:
    """Whether the value of a field is the dataclass of another section, e.g. a schedule or an optimiser."""
    return isinstance(hint, type) and hint.__module__ != "builtins" and bool(examples(hint))


def examples(kind: type) -> list[str]:
    """The names of the sections whose dataclass is a class or extends it."""
    return [name for name, section in SECTIONS.items() if kind in section.schema.__mro__]


def kind_of(hint: Any) -> str:
    """The type of a parameter in words."""
    return " or ".join(f"@{name}()" for name in examples(hint)) if is_sectioned(hint) else in_words(hint)


def once(bindings: Iterable[Binding]) -> list[Binding]:
    """The bindings, after a check that no parameter is bound twice.

    Raises:
      UsageError: two bindings set one parameter; the message names both places.
    """
    seen: dict[tuple[str, str], Binding] = {}
    for binding in bindings:
        if (before := seen.get(binding.key)) is not None:
            where = "" if before.where == binding.where else f", before in {before.where}"
            raise UsageError(f"{binding.where}: {binding.section}.{binding.parameter} is bound twice{where}")
        seen[binding.key] = binding
    return [*seen.values()]


def layered(*layers: Iterable[Binding]) -> Bindings:
    """The bindings of several layers by parameter. The last layer that sets a parameter counts."""
    bindings: dict[tuple[str, str], Binding] = {}
    for binding in itertools.chain(*layers):
        bindings.pop(binding.key, None)  # so that they stand in the order in which they count
        bindings[binding.key] = binding
    return bindings


def changes(binding: Binding, below: Bindings) -> bool:
    """Whether a binding sets another value than those below it, or than the default where they set none."""
    before = below.get(binding.key)
    if before is not None:
        return binding.value != before.value
    section = section_named(binding.section)
    (field,) = [field for field in dataclasses.fields(section.schema) if field.name == binding.parameter]
    return field.default is dataclasses.MISSING or binding.value != typed(field.default, section.hints[field.name])


def build(name: str, bindings: Bindings) -> Any:
    """The frozen dataclass of a section, filled with bound values and defaults.

    Raises:
      UsageError: a parameter without a default is not bound, or values contradict each other; the message names the
        binding at fault.
    """
    section = section_named(name)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(section.schema):
        binding = bindings.get((name, field.name))
        if binding is not None:
            value = binding.value
            values[field.name] = build(value.section, bindings) if isinstance(value, Reference) else value
        elif field.default is not dataclasses.MISSING:
            values[field.name] = typed(field.default, section.hints[field.name])  # written as if it had been bound
        else:
            example = f", as in --gin '{name}.{field.name} = {sample(section, field)}'"
            raise UsageError(f"{name}.{field.name} must be set" + (example if section.set_by == "anyone" else ""))
    try:
        return section.schema(**values)
    except (UsageError, ValueError, TypeError) as error:
        raise blamed(str(error), name, bindings) from error


def sample(section: Section, field: Any) -> str:
    """An example of a value, for errors."""
    hint = section.hints[field.name]
    return f"@{examples(hint)[0]}()" if is_sectioned(hint) else {int: "1", float: "0.1", str: "'...'"}.get(hint, "...")


def blamed(reason: str, name: str, bindings: Bindings) -> UsageError:
    """The error of a section whose values contradict each other, with the place of the last binding that it names."""
    named = [
        binding
        for (section, parameter), binding in bindings.items()
        if section == name and (re.search(rf"\b{parameter}\b", reason) or is_quoted(binding.value, reason))
    ]
    return UsageError(f"{named[-1].where}: {reason}" if named and named[-1].where not in reason else reason)


def is_quoted(value: Any, reason: str) -> bool:
    return isinstance(value, str) and repr(value) in reason


def lines(name: str, value: Any) -> list[str]:
    """The bindings of all parameters of a section, and of the sections that it refers to.

    Args:
      name: the name of the section.
      value: the dataclass of the section.
    """
    written = []
    for field in dataclasses.fields(value):
        held = getattr(value, field.name)
        inner = section_of(held)
        written.append(f"{name}.{field.name} = {Reference(inner.name) if inner else held!r}")
        written += lines(inner.name, held) if inner else []
    return written


def sections_in(name: str, value: Any) -> list[str]:
    """The names of a section and of the sections that it refers to; arguments as for `lines`."""
    names = [name]
    for field in dataclasses.fields(value):
        held = getattr(value, field.name)
        if inner := section_of(held):
            names += sections_in(inner.name, held)
    return names
