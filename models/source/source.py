"""Which modules a variant from outside consists of, their texts, and the files with its sizes."""

import dataclasses
import inspect
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from lra.errors import UserError
from lra.models.source.cell import with_imports
from lra.models.source.imports import Import, Module, Place, found_by, imports_in, in_packages, is_outside, path_of
from lra.models.source.loaded import stray
from lra.models.source.loader import TextLoader, module_of, stem_of
from lra.models.source.sizes import Sizes, sizes_beside
from lra.models.source.texts import text_of


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """A cell of a notebook: the notebook's names, and the flags of the cell's code."""

    scope: Mapping[str, Any]
    flags: int


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """The source of a variant, as it was when the variant was registered.

    Attributes:
      roots: the module whose run registers the variant, then those whose functions it called to do so, and those that
        were loaded meanwhile.
      modules: all local modules that these bring in, the first root first.
      packages: the top-level modules of installed packages that these import.
      fault: why there are modules that are not among these; empty if there are none.
      cell: None if the first root is no cell of a notebook.
      sizes: the files with the variant's own sizes; a cell has none.
    """

    roots: tuple[Module, ...]
    modules: tuple[Module, ...]
    packages: frozenset[str]
    fault: str
    cell: Cell | None
    sizes: tuple[Sizes, ...]

    def has_other_sizes(self, variant: str) -> bool:
        """Whether the variant would have other sizes if it were registered now."""
        return not self.cell and self.sizes != sizes_beside(self.roots[0], variant)

    def texts(self, who: str) -> dict[str, str]:
        """The texts of all modules and sizes by their paths below one folder, that which registers the variant first.

        Args:
          who: the variant in words, for errors.

        Raises:
          UserError: a text cannot be had, is not what was loaded, or leaves out what another cell defines.
        """
        modules, fault = [*self.modules], self.fault
        first = self.roots[0]
        if first.text is None:
            raise UserError(f"{who} has no text that a record could keep; put it into a file and import that")
        if self.cell:
            text = with_imports(first.text, self.cell.scope, self.cell.flags, who)
            modules, _, fault = closure([Module(first.name, first.key, first.file, text), *self.roots[1:]])
        if fault:
            raise UserError(f"{who} has no source that a record could keep: {fault}")
        if first.texts and (late := {*first.texts.read} - first.texts.known):
            raise UserError(
                f"{who} imports {min(late)} by a computed name when it is called; write an import statement"
            )
        for module in modules:
            if module.text is None:
                raise UserError(f"{who} imports {module.file}, which is no text that a record could keep")
            loaded = sys.modules.get(module.key)
            if loaded is None or (self.cell and module.name == first.name):
                continue
            if name := stray(loaded, module.file, module.text):
                raise UserError(
                    f"{who} needs {module.file}, which was changed after it was imported ('{name}' is another now); "
                    "start Python anew"
                )
        if unread := [sizes.file for sizes in self.sizes if sizes.text is None]:
            raise UserError(f"{who} has sizes in {unread[0]}, which is no text that a record could keep")
        texts = {module.path: module.text or "" for module in modules}
        return texts | {sizes.path: sizes.text or "" for sizes in self.sizes}


def source_of(frame: FrameType, variant: str) -> Source:
    """The source of the variant that a frame registers under a name."""
    frames = registering(frame)
    roots = [root_of(one) for one in frames[::-1]]
    outer = frames[-1]
    cell = Cell(outer.f_globals, outer.f_code.co_flags) if is_cell(outer) else None
    if not cell and outer.f_code.co_name == "<module>":
        roots += since(roots[0])
    modules, packages, fault = closure(roots)
    sizes = () if cell else sizes_beside(roots[0], variant)
    return Source(tuple(roots), tuple(modules), frozenset(packages), fault, cell, sizes)


def registering(frame: FrameType) -> list[FrameType]:
    """The frames that register a variant, the innermost first: functions of local modules, then the run of a module."""
    frames, own = [frame], root_of(frame)
    while frame.f_code.co_name != "<module>" and (above := frame.f_back) and is_local(above, own):
        frames.append(frame := above)
    return frames


def is_local(frame: FrameType, own: Module) -> bool:
    spec = frame.f_globals.get("__spec__")
    return frame.f_globals.get("__name__") == "__main__" or bool(spec and not is_outside(spec, own))


def is_cell(frame: FrameType) -> bool:
    """Whether the code of a frame is none of a module's file: a cell of a notebook, or what was typed at a prompt."""
    file = frame.f_globals.get("__file__")
    return not file or os.path.abspath(file) != os.path.abspath(frame.f_code.co_filename)


def root_of(frame: FrameType) -> Module:
    """The module whose code a frame runs."""
    key, file = str(frame.f_globals.get("__name__", "__main__")), frame.f_code.co_filename
    if is_cell(frame):
        return Module("__main__", "__main__", file, text_of(file))
    loader, spec = frame.f_globals.get("__loader__"), frame.f_globals.get("__spec__")
    if isinstance(loader, TextLoader):
        return module_of(key, loader)
    name = spec.name if spec else stem_of(Path(file))
    return Module(name, key, file, text_of(file), os.path.basename(file) == "__init__.py")


def since(root: Module) -> Iterator[Module]:
    """The local modules that were first loaded while a module ran, whoever imported them."""
    names = list(sys.modules)
    for key in names[names.index(root.key) + 1 :] if root.key in names else ():
        spec = getattr(sys.modules[key], "__spec__", None)
        if spec is None or not spec.origin or not inspect.ismodule(sys.modules[key]):
            continue
        if isinstance(spec.loader, TextLoader):
            if root.texts is spec.loader.texts:
                yield module_of(key, spec.loader)
        elif not is_outside(spec, root):
            yield module_at(Place(key, spec, False), root)


def module_at(place: Place, importer: Module) -> Module:
    """The module at a place that an import leads to."""
    file = path_of(place.spec)
    texts = importer.texts if place.is_beside else None
    text = None if not file.endswith(".py") else texts[file] if texts else text_of(file)
    key = f"{texts.package}.{place.name}" if texts else place.name
    return Module(place.name, key, file, text, os.path.basename(file) == "__init__.py", texts)


def closure(roots: Iterable[Module]) -> tuple[list[Module], set[str], str]:
    """All local modules that some modules bring in, the first root first, then by path.

    Returns:
      the modules; the top-level modules of installed packages that they import; and why they are not all, or nothing.
    """
    todo, fault = [*roots], ""
    first = todo[0]
    seen: dict[str, Module] = {}
    packages: set[str] = set()
    while todo:
        module = todo.pop()
        if module.path in seen:
            if seen[module.path].file != module.file:
                fault = f"both {seen[module.path].file} and {module.file} are its '{module.name}'"
            continue
        seen[module.path] = module
        above = module.name.rpartition(".")[0]
        for wanted in (*imports_in(module.text or ""), *([Import(0, above)] if above else [])):
            try:
                for place in found_by(module, wanted):
                    if "." not in place.name and not place.is_beside and is_outside(place.spec, first):
                        ours = place.top == __name__.partition(".")[0]
                        packages |= {place.top} if in_packages(path_of(place.spec)) and not ours else set()
                        break
                    if place.spec.origin:
                        todo.append(module_at(place, module))
            except ImportError as error:
                fault = str(error)
    rest = sorted((module for path, module in seen.items() if path != first.path), key=lambda module: module.path)
    return [first, *rest], packages, fault
