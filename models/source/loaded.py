"""Whether a loaded module is what its text says: a file may have been edited since, and Python keeps the old code."""

import ast
import types
from collections import Counter
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from typing import Any

CONSTANTS = (int, float, complex, str, bytes, bool, tuple, type(None))


def stray(module: types.ModuleType, file: str, text: str) -> str | None:
    """The name of a function or constant of a loaded module that is not what the text says; None if there is none.

    Compared are the code of functions and methods, and constants that the text sets once. A module whose loader
    rewrites the code, as pytest's does, is not compared.
    """
    loader = module.__spec__.loader if module.__spec__ else None  # a script has no spec
    if loader and getattr(type(loader), "source_to_code", None) is not SourceFileLoader.source_to_code:
        return None
    plain = text.removeprefix("\ufeff")
    codes: dict[str, list[types.CodeType]] = {}
    for code in codes_in(compile(plain, file, "exec", dont_inherit=True)):
        codes.setdefault(code.co_qualname, []).append(code)
    for name, function in functions_in(vars(module), module.__name__):
        code = function.__code__
        if code.co_filename == file and code.co_qualname in codes and code not in codes[code.co_qualname]:
            return name
    tree = ast.parse(plain)
    names = bound_names(tree)
    if "*" in names:  # they may be anything
        return None
    for name in plain_functions(tree, names):
        value = vars(module).get(name)
        if value is not None and getattr(value, "__code__", None) not in codes.get(name, ()):
            return name
    for name, value in constants(tree, names):
        if name in vars(module) and repr(vars(module)[name]) != repr(value):
            return name
    return None


def codes_in(code: types.CodeType) -> Iterator[types.CodeType]:
    """A code object and all those inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes_in(constant)


def functions_in(scope: Any, module: str, prefix: str = "", depth: int = 5) -> Iterator[tuple[str, types.FunctionType]]:
    """The functions and methods that a module defines, below what decorators with `__wrapped__` made of them."""
    for name, value in [*scope.items()]:
        inner = value.fget if isinstance(value, property) else value
        function = unwrapped(inner.__func__ if isinstance(inner, staticmethod | classmethod) else inner)
        if isinstance(function, types.FunctionType) and function.__module__ == module:
            yield f"{prefix}{name}", function
        if isinstance(value, type) and value.__module__ == module and depth:
            yield from functions_in(vars(value), module, f"{prefix}{name}.", depth - 1)


def unwrapped(value: Any) -> Any:
    """What a decorator was given, if it keeps it as `functools.wraps` does. No attribute is asked for by its name."""
    for _ in range(100):
        try:
            value = vars(value)["__wrapped__"]
        except (TypeError, KeyError):  # it has no attributes, or not this one
            break
    return value


def bound_names(tree: ast.Module) -> Counter[str]:
    """How often a text binds each name of the module."""
    names: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            names.update(node.names)  # a function may change it
    for node in outside_functions(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            names[node.id] += 1
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names[node.name] += 1
        elif isinstance(node, ast.alias):
            names[(node.asname or node.name).partition(".")[0]] += 1
    return names


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from outside_functions(child)


def plain_functions(tree: ast.Module, names: Counter[str]) -> list[str]:
    """The functions that the text defines once, without a decorator."""
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef) and not node.decorator_list]
    return [node.name for node in defined if names[node.name] == 1]


def constants(tree: ast.Module, names: Counter[str]) -> Iterator[tuple[str, Any]]:
    """The constants that the text sets once, with their values."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, expression = node.targets[0], node.value
        elif isinstance(node, ast.AnnAssign) and node.value:
            target, expression = node.target, node.value
        else:
            continue
        if isinstance(target, ast.Name) and names[target.id] == 1:
            try:
                value = ast.literal_eval(expression)
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                continue
            if isinstance(value, CONSTANTS):
                yield target.id, value
