"""Every option of a variant and every parameter of a task's data is explained where it is declared."""

import ast
import dataclasses
import inspect
import re
from pathlib import Path

import pytest

from lra.tasks import TASKS

VARIANTS = Path(__file__).resolve().parents[1] / "models" / "attention"


def explained(docstring: str, section: str) -> list[str]:
    """The names in a section like `Args:`, whose lines are `  name: meaning` or `  name, name: meaning`."""
    _, _, rest = f"\n{inspect.cleandoc(docstring)}\n".partition(f"\n{section}:\n")
    lines = rest.partition("\n\n")[0].splitlines()
    heads = [match[1] for line in lines if (match := re.match(r"  (\w+(?:, \w+)*): \S", line))]
    return [name for head in heads for name in head.split(", ")]


def options_of(node: ast.ClassDef | ast.FunctionDef) -> list[str]:
    """The keyword arguments of a variant but those that every variant may have."""
    if isinstance(node, ast.ClassDef):
        node = next(n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
        return [argument.arg for argument in node.args.kwonlyargs if argument.arg != "rngs"]
    arguments = [*node.args.args[len(node.args.args) - len(node.args.defaults) :], *node.args.kwonlyargs]
    return [argument.arg for argument in arguments if argument.arg != "dropout"]


def variants() -> dict[str, ast.ClassDef | ast.FunctionDef]:
    return {
        path.stem: node
        for path in sorted(VARIANTS.glob("*.py"))
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        and any("register_attention" in ast.unparse(decorator) for decorator in node.decorator_list)
    }


def test_this_test_reads_sections():
    text = "What.\n\nArgs:\n  one: first\n    line: of two.\n  two, three: both.\n\nelse: no."
    assert explained(text, "Args") == ["one", "two", "three"]
    assert explained(text, "Attributes") == explained("What.", "Args") == []
    assert len(variants()) == 24


@pytest.mark.parametrize("name", variants())
def test_the_options_of_a_variant(name):
    node = variants()[name]
    assert explained(ast.get_docstring(node) or "", "Args") == options_of(node)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_the_parameters_of_a_task(task):
    source = type(task.source())
    names = {name for base in source.__mro__ for name in explained(base.__doc__ or "", "Attributes")}
    assert names == {field.name for field in dataclasses.fields(source)}
