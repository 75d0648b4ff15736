"""The imports that stand in a text, and the files that they name."""

import ast
import functools
import importlib.metadata
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import NamedTuple

from lra.models.source.texts import Texts

STANDARD = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
DYNAMIC = ("import_module", "__import__")  # functions that import what their first argument names


class Import(NamedTuple):
    """An import: `from ..a.b import c, d` is (2, "a.b", ("c", "d"))."""

    level: int
    module: str
    names: tuple[str, ...] = ()


class Module(NamedTuple):
    """A local module.

    Attributes:
      name: the dotted name under which the other modules import it, seen from the folder of all of them.
      key: its name in `sys.modules`, if it is loaded.
      file: where it lies.
      text: its text; None if there is none, as of a compiled module.
      is_package: whether the file is an `__init__.py`.
      texts: the texts of the imported file's folder, if it lies beside one; None if Python imports it in its own way.
    """

    name: str
    key: str
    file: str
    text: str | None
    is_package: bool = False
    texts: Texts | None = None

    @property
    def path(self) -> str:
        """The path of its text below the folder of all modules."""
        return self.name.replace(".", "/") + ("/__init__.py" if self.is_package else ".py")

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]


class Place(NamedTuple):
    """Where an import leads.

    Attributes:
      name: the dotted name of the module, seen from the folder of all modules.
      is_beside: whether it lies beside an imported file; otherwise Python imports it in its own way.
    """

    name: str
    spec: ModuleSpec
    is_beside: bool

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]

    @property
    def path(self) -> str:
        """The file of the module, or the folder of a package without a file."""
        return path_of(self.spec)


@functools.lru_cache(maxsize=256)
def imports_in(text: str) -> tuple[Import, ...]:
    """All imports of a text, also those in functions and under conditions; empty if it is no Python."""
    try:
        tree = ast.parse(text.removeprefix("\ufeff"))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return ()
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [Import(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(Import(node.level, node.module or "", tuple(alias.name for alias in node.names)))
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in DYNAMIC:
            name = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
            if isinstance(name, str):
                found.append(Import(len(name) - len(name.lstrip(".")), name.lstrip(".")))
    return tuple(dict.fromkeys(found))


def found_by(module: Module, wanted: Import) -> Iterator[Place]:
    """The modules that an import in a module brings in, packages first. Nothing is executed.

    Raises:
      ImportError: as `top_level`.
    """
    rest = wanted.module.split(".") if wanted.module else []
    if wanted.level:
        package = module.name.split(".")[: None if module.is_package else -1]
        up = wanted.level - 1
        if up > len(package):
            return
        name, folders = package[: len(package) - up], [str(Path(module.file).parents[up])]
        is_beside = module.texts is not None
    else:
        place = top_level(module, rest.pop(0))
        if place is None:
            return
        yield place
        name, folders = place.name.split("."), [*(place.spec.submodule_search_locations or ())]
        is_beside = place.is_beside
    for part in rest:
        spec = spec_in(part, folders)
        if spec is None:
            return
        name, folders = [*name, part], [*(spec.submodule_search_locations or ())]
        yield Place(".".join(name), spec, is_beside)
    for part in wanted.names:
        if spec := spec_in(part, folders):
            yield Place(".".join([*name, part]), spec, is_beside)


def spec_in(name: str, folders: Sequence[str]) -> ModuleSpec | None:
    """The spec of a module in one of some folders."""
    return PathFinder.find_spec(name, list(folders)) if folders and name != "*" else None


def top_level(module: Module, top: str) -> Place | None:
    """What `import top` in a module means; None if there is nothing of that name.

    A module beside an imported file finds what lies in its top folder, then what Python finds, then what lies in
    its own folder and those above.

    Raises:
      ImportError: the top folder hides a module of Python or of an installed package.
    """
    if module.texts and (beside := spec_beside(module, top, module.texts.root)):
        return Place(top, beside, True)
    if spec := normal_spec(top):
        return Place(top, spec, False)
    folder = Path(module.file).parent
    while module.texts and module.texts.root in folder.parents:
        if spec := spec_in(top, [str(folder)]):
            return Place(".".join([*folder.relative_to(module.texts.root).parts, top]), spec, True)
        folder = folder.parent
    return None


def spec_beside(module: Module, top: str, root: Path) -> ModuleSpec | None:
    """The spec of a module in the top folder of an imported file, if an import of that name in a module means it.

    Raises:
      ImportError: as `top_level`.
    """
    spec = spec_in(top, [str(root)])
    if top == "lra" or spec is None:
        return None
    if top == module.top:  # a package imports itself, a single module does not
        return None if spec.origin == module.file and not module.is_package else spec
    if in_packages(str(root)):
        return None
    if spec.origin is None:  # a folder without __init__.py gives way, as it does for Python
        return None if normal_spec(top) else spec
    loaded = getattr(sys.modules.get(top), "__spec__", None)
    if top in sys.stdlib_module_names or (loaded and is_outside(loaded)):
        raise ImportError(f"'{top}' is both {spec.origin} and a module of Python or of a package; rename the file")
    return spec


def normal_spec(top: str) -> ModuleSpec | None:
    """The spec of the top-level module that Python has or would import under a name."""
    if (module := sys.modules.get(top)) is not None and getattr(module, "__spec__", None):
        return module.__spec__
    for finder in sys.meta_path:
        if (find := getattr(finder, "find_spec", None)) and (spec := find(top, None)):
            return spec
    return None


def path_of(spec: ModuleSpec) -> str:
    """The file of a module, or the folder of a package without a file."""
    return spec.origin if spec.origin and spec.has_location else next(iter(spec.submodule_search_locations or ()), "")


def in_packages(path: str) -> bool:
    """Whether a path lies among the installed packages."""
    return bool({"site-packages", "dist-packages"} & {*Path(path).parts})


def is_outside(spec: ModuleSpec, own: Module | None = None) -> bool:
    """Whether a module is no local one: Python's, lra's, or of an installed package other than that of `own`."""
    top, place = spec.name.partition(".")[0], path_of(spec)
    if top in ("lra", "__main__") or not place:  # what is built into Python has no place
        return True
    if not in_packages(place):
        return bool({*STANDARD} & {*Path(place).parents})
    if own is None or not in_packages(own.file):
        return True
    return top != own.top and not {*packages_of(top)} & {*packages_of(own.top)}


def packages_of(top: str) -> list[str]:
    """The names of the installed packages that a top-level module is of."""
    return distributions().get(top, [])


@functools.cache
def distributions() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())
