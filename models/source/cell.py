"""The source of a variant that a cell of a notebook defines: the cell, and the imports that its names need."""

import __future__

import ast
import builtins
import dis
import sys
from collections.abc import Iterator, Mapping
from types import CodeType, ModuleType
from typing import Any

from lra.errors import UserError

READ = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
WRITTEN = ("STORE_NAME", "STORE_GLOBAL")


def with_imports(text: str, scope: Mapping[str, Any], flags: int, who: str) -> str:
    """The text of a cell, preceded by the imports of the names that it takes from other cells.

    Args:
      scope: the names of the notebook.
      flags: those of the cell's code; they say whether an earlier cell imports `annotations` from `__future__`.
      who: the variant in words, for errors.

    Raises:
      UserError: the cell uses a function, class or constant that another cell defines.
    """
    code = compile(text, "<cell>", "exec", flags & __future__.annotations.compiler_flag, dont_inherit=True)
    lines = [import_of(name, scope[name], who) for name in sorted(foreign(code)) if name in scope]
    if missing := sorted(name for name in foreign(code) if name not in scope and not hasattr(builtins, name)):
        raise UserError(f"{who} uses '{missing[0]}', which is defined nowhere; define it in the same cell")
    if flags & __future__.annotations.compiler_flag and not has_future(text):
        lines.insert(0, "from __future__ import annotations")
    first = first_line(text)
    before = text.splitlines(keepends=True)
    return "".join([*before[:first], *(f"{line}\n" for line in lines), *before[first:]])


def foreign(code: CodeType) -> set[str]:
    """The global names that a cell reads before it sets them, or that its functions read and it never sets."""
    own: set[str] = set()
    read: set[str] = set()
    for instruction in dis.get_instructions(code):
        if instruction.opname in WRITTEN:
            own.add(instruction.argval)
        elif instruction.opname in READ and instruction.argval not in own:
            read.add(instruction.argval)
    for inner in insides(code):
        own |= {i.argval for i in dis.get_instructions(inner) if i.opname == "STORE_GLOBAL"}
    return read | {name for inner in insides(code) for name in read_in(inner) if name not in own}


def insides(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from insides(constant)


def read_in(code: CodeType) -> set[str]:
    """The global names that a function or the body of a class reads; a body may set a name before it reads it."""
    own: set[str] = {"__name__", "__qualname__", "__module__"}
    read: set[str] = set()
    for instruction in dis.get_instructions(code):
        if instruction.opname == "STORE_NAME":
            own.add(instruction.argval)
        elif instruction.opname == "LOAD_GLOBAL" or (instruction.opname in READ and instruction.argval not in own):
            read.add(instruction.argval)
    return read - {"__name__"}


def import_of(name: str, value: Any, who: str) -> str:
    """The statement that imports a value under a name.

    Raises:
      UserError: no statement does.
    """
    if isinstance(value, ModuleType):
        *_, last = path = value.__name__.split(".")
        if len(path) == 1:
            return f"import {last}" if last == name else f"import {last} as {name}"
        if sys.modules.get(value.__name__) is value:
            return f"import {value.__name__} as {name}"
    module, inner = str(getattr(value, "__module__", "__main__")), str(getattr(value, "__name__", ""))
    if module != "__main__" and inner.isidentifier() and getattr(sys.modules.get(module), inner, None) is value:
        return f"from {module} import {inner}" + ("" if inner == name else f" as {name}")
    raise UserError(
        f"{who} uses '{name}' of another cell, which its record would lack; put both into the same cell, or into a file"
    )


def future_nodes(text: str) -> list[ast.ImportFrom]:
    return [node for node in ast.parse(text).body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]


def has_future(text: str) -> bool:
    """Whether a text imports `annotations` from `__future__`."""
    return any(alias.name == "annotations" for node in future_nodes(text) for alias in node.names)


def first_line(text: str) -> int:
    """The number of lines that have to stay first: the imports from `__future__`, and what stands above them."""
    return max((node.end_lineno or 0 for node in future_nodes(text)), default=0)
