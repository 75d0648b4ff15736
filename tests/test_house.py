"""The law of the house: `lra` imports tasks, models and leaderboard; they import neither its harness nor each other.

And the bytes of a file never depend on the user's locale, nor the outcome of a test on luck.
"""

import ast
import graphlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("tasks", "models", "leaderboard")
# of lra's own modules, what the rooms may use
SHARED = ("__init__", "errors", "families", "files", "names", "remote", "storage", "typed", "workers")
FOLDERS = {"lra": ROOT / "lra", **{f"lra.{room}": ROOT / room for room in ROOMS}}


def sources(package: str) -> list[Path]:
    return sorted(FOLDERS[package].rglob("*.py"))


def is_module(name: str) -> bool:
    """Whether a dotted name is a file or a package of this project, seen from where they are installed."""
    package = max((p for p in FOLDERS if f"{name}.".startswith(f"{p}.")), key=len, default=None)
    if package is None:
        return False
    path = FOLDERS[package].joinpath(*name.removeprefix(package).strip(".").split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that count when a module is imported or read by a type checker: those in no function."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from outside_functions(child)


def imported(source: str, inside: str, nodes: Callable[[ast.AST], Iterator[ast.AST]] = ast.walk) -> Iterator[str]:
    """The project's modules that a source imports, at its top or deep inside; `inside` is the package of the source."""
    for node in nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "lra")
        elif isinstance(node, ast.ImportFrom):
            above = inside.split(".")[: len(inside.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            if module.split(".")[0] == "lra":
                names = [f"{module}.{alias.name}" for alias in node.names]
                yield from (name if is_module(name) else module for name in names)


def package_of(path: Path) -> str:
    package = next(p for p, folder in reversed(FOLDERS.items()) if path.is_relative_to(folder))
    return ".".join([package, *path.relative_to(FOLDERS[package]).parent.parts])


def name_of(path: Path) -> str:
    return package_of(path) if path.stem == "__init__" else f"{package_of(path)}.{path.stem}"


def cycle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Modules of which each imports the one before, the first again at the end; empty if there are none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def forbidden(source: str, inside: str, room: str) -> list[str]:
    allowed = {"lra", *(f"lra.{name}" for name in SHARED)}
    return [
        name for name in imported(source, inside) if name not in allowed and not f"{name}.".startswith(f"lra.{room}.")
    ]


def test_this_test_knows_a_breach():
    assert forbidden("from lra import train", "lra.tasks", "tasks") == ["lra.train"]
    assert forbidden("from lra import __version__, errors, files", "lra.tasks", "tasks") == []
    assert forbidden("import lra.tasks.listops, lra.models", "lra.tasks", "tasks") == ["lra.models"]
    assert forbidden("def f():\n  from ..leaderboard.store import load", "lra.tasks", "tasks") == [
        "lra.leaderboard.store"
    ]
    assert forbidden("from ... import train", "lra.models.attention", "models") == ["lra.train"]
    assert forbidden("from .registry import x\nfrom . import local", "lra.models.attention", "models") == []


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_neither_the_harness_nor_each_other(room):
    files = sources(f"lra.{room}")
    assert len(files) > 1
    breaches = {
        str(path.relative_to(ROOT)): names
        for path in files
        if (names := forbidden(path.read_text(), package_of(path), room))
    }
    assert breaches == {}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_do_not_reach_the_harness_through_its_api(room):
    """`import lra` alone is allowed: what it offers comes from the harness when it is asked for."""
    for path in sources(f"lra.{room}"):
        used = {
            node.attr
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "lra"
        }
        assert used <= {"__version__"}, path


@pytest.mark.parametrize("name", SHARED)
def test_what_the_rooms_share_stands_below_them(name):
    """Otherwise the rooms would reach the harness or each other through it."""
    allowed = {"lra", *(f"lra.{other}" for other in SHARED)}
    assert {*imported((ROOT / "lra" / f"{name}.py").read_text(), "lra")} <= allowed


def test_the_harness_imports_all_rooms():
    names = {name for path in sources("lra") for name in imported(path.read_text(), package_of(path))}
    assert {name.split(".")[1] for name in names if "." in name} >= set(ROOMS)


def test_nothing_is_imported_by_a_name_of_the_top_folder():
    """`tasks` and `models` are not installed: only `lra.tasks` and `lra.models` are."""
    for path in (path for package in FOLDERS for path in sources(package)):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            assert not {name.split(".")[0] for name in names} & set(ROOMS), path


def test_this_test_knows_a_circle():
    top = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n  from lra.tasks import text\n"
    inner = "def f():\n  from lra.tasks import image\nclass A:\n  import lra.tasks.listops"
    assert [*imported(top + inner, "lra.tasks", outside_functions)] == ["lra.tasks.text", "lra.tasks.listops"]
    assert cycle({"a": ["b"], "b": ["c"], "c": ["d"], "e": ["a"]}) == []
    assert sorted(cycle({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]})[1:]) == ["a", "b", "c"]


def test_no_module_imports_itself_through_others():
    """Imports at the top of modules count, also those that only a type checker reads. That a package is imported before
    the modules in it does not count.
    """
    graph = {
        name_of(path): {*imported(path.read_text(), package_of(path), outside_functions)}
        for package in FOLDERS
        for path in sources(package)
    }
    assert len(graph) > 100
    assert cycle(graph) == []


BINARY = ("os", "tarfile", "gzip", "Image")  # modules whose `open` reads no text


def in_the_locale(source: str) -> list[int]:
    """The lines of calls that read or write text and leave the encoding to the locale."""
    lines = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        owner = getattr(getattr(call.func, "value", None), "id", "")
        values = [getattr(value, "value", None) for value in (*call.args, *(option.value for option in call.keywords))]
        binary = any(isinstance(value, str) and "b" in value and {*value} <= {*"rwxab+"} for value in values)
        options = {option.arg for option in call.keywords}
        text = (
            (name == "read_text" and not call.args)  # which takes the encoding as its first argument
            or (name == "write_text" and len(call.args) < 2)  # as its second
            or (name in ("open", "TextIOWrapper") and owner not in BINARY and not binary)
            or (name == "fdopen" and not binary)
            or {"text", "universal_newlines"} & options  # of a subprocess
        )
        if text and "encoding" not in options:
            lines.append(call.lineno)
    return lines


def test_this_test_knows_a_call_that_leaves_the_encoding_to_the_locale():
    left = ("f.read_text()", "f.write_text(t)", "open(f)", "f.open('w')", "run(c, text=True)", "os.fdopen(h)")
    assert [in_the_locale(call) for call in left] == [[1]] * len(left)
    said = ("f.read_text('utf-8')", "f.write_text(t, 'utf-8')", "open(f, encoding='utf-8')", "open(f, 'rb')",
            "f.open('wb')", "run(c, encoding='utf-8')", "os.fdopen(h, 'wb')", "os.open(f, flags)", "tarfile.open(f)",
            "f.read_bytes()", "run(c)")  # fmt: skip
    assert [in_the_locale(call) for call in said] == [[]] * len(said)


def test_no_file_is_read_or_written_in_the_encoding_of_the_locale():
    files = {path for folder in (*FOLDERS.values(), ROOT / "accelerator") for path in folder.rglob("*.py")}
    assert len(files) > 150
    found = {str(path.relative_to(ROOT)): in_the_locale(path.read_text("utf-8")) for path in files}
    assert {name: lines for name, lines in found.items() if lines} == {}


def luck(source: str) -> Iterator[int]:
    """The lines that draw random numbers without a seed, or give Hypothesis settings that a profile decides."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        unseeded = called.split(".")[-1] in ("default_rng", "Random", "SeedSequence") and not node.args
        shared = re.fullmatch(r"random\.[a-z]+", called)  # the generator of the whole process
        profile = {"derandomize", "deadline", "database"} & {keyword.arg for keyword in node.keywords}
        if unseeded or shared or profile:
            yield node.lineno


def test_this_test_knows_luck():
    source = "import random\na = random.random()\nb = np.random.default_rng()\nc = np.random.default_rng(0)\n"
    assert [*luck(source + "@settings(derandomize=False)\ndef f(): pass\n")] == [2, 3, 5]


def test_no_test_depends_on_luck():
    assert hypothesis.settings.get_profile("same").derandomize
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    found = [f"{path.relative_to(ROOT)}:{line}" for path in tests for line in luck(path.read_text("utf-8"))]
    assert len(tests) > 100
    assert found == []
