"""Loads an imported file and the modules beside it from their texts, in a package of its own.

The package has a name of its own, so that modules of one name in two folders are two modules, and a file that has
changed is loaded beside what was loaded before. No bytecode that Python keeps is asked: it may be of another text.
"""

import builtins
import importlib
import importlib.util
import itertools
import re
import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from lra.models.source.imports import Module, top_level
from lra.models.source.texts import Texts

_numbers = itertools.count()


class Finder:
    """Finds the modules of a folder's package; an entry of `sys.meta_path`."""

    def __init__(self, texts: Texts):
        self.texts = texts

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if not name.startswith(f"{self.texts.package}."):
            return None
        spec = PathFinder.find_spec(name, path)
        if spec and spec.origin and spec.origin.endswith(".py"):
            spec.loader, spec.cached = TextLoader(name, spec.origin, self.texts), None
        return spec


class TextLoader(SourceFileLoader):
    """Loads a module from the text that is kept of it. Its imports of what lies beside it stay in the package."""

    def __init__(self, name: str, path: str, texts: Texts):
        super().__init__(name, path)
        self.texts = texts

    def get_source(self, fullname: str) -> str:
        text = self.texts[self.path]
        if text is None:
            raise ImportError(f"{self.path} cannot be read as text")
        return text

    def get_code(self, fullname: str) -> Any:
        return self.source_to_code(self.get_source(fullname).removeprefix("\ufeff"), self.path)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = vars(builtins) | {"__import__": self.importer(module)}
        super().exec_module(module)

    def importer(self, module: ModuleType) -> Any:
        """What `import` calls in a module."""
        here = module_of(module.__name__, self)

        def import_(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
            top, _, rest = name.partition(".")
            place = None if level else top_level(here, top)
            if place is None or not place.is_beside:
                return builtins.__import__(name, globals, locals, fromlist, level)
            inner = f"{self.texts.package}.{place.name}"
            leaf = importlib.import_module(f"{inner}.{rest}" if rest else inner)
            return builtins.__import__(leaf.__name__, None, None, fromlist, 0) if fromlist else sys.modules[inner]

        return import_


def module_of(key: str, loader: TextLoader) -> Module:
    """The module of a folder that a loader loads under a name."""
    name = key.removeprefix(f"{loader.texts.package}.")
    is_package = Path(loader.path).stem == "__init__"
    return Module(name, key, loader.path, loader.texts[loader.path], is_package, loader.texts)


def root_of(file: Path) -> Path:
    """The folder above all packages that a file is in."""
    folder = file.parent
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        folder = folder.parent
    return folder


def stem_of(file: Path) -> str:
    """The name of a file as a module. One that could not be imported by its name becomes one that a record can have."""
    return file.stem if file.stem.isidentifier() else re.sub(r"[^\w-]", "_", file.stem)


def load_text(file: Path) -> Texts:
    """Runs a file as a module of a new package, and returns the texts that were read for it.

    Raises:
      Exception: what the file raised. Nothing of the package is left then.
    """
    importlib.invalidate_caches()
    texts = Texts(root_of(file), f"lra_import_{next(_numbers)}")
    finder = Finder(texts)
    top = ModuleType(texts.package, f"The modules of {texts.root}.")
    top.__spec__ = ModuleSpec(texts.package, None, is_package=True)
    top.__path__ = top.__spec__.submodule_search_locations = [str(texts.root)]
    sys.modules[texts.package] = top
    sys.meta_path.insert(0, finder)  # it stays, since a function may import when it is called
    above = ".".join([texts.package, *file.parent.relative_to(texts.root).parts])
    name = f"{above}.{stem_of(file)}"
    try:
        importlib.import_module(above)
        if file.name != "__init__.py" and name not in sys.modules:  # the package may have imported it
            loader = TextLoader(name, str(file), texts)
            spec = importlib.util.spec_from_file_location(name, file, loader=loader)
            assert spec
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            loader.exec_module(module)
    except BaseException:
        sys.meta_path.remove(finder)
        for key in [key for key in sys.modules if f"{key}.".startswith(f"{texts.package}.")]:
            del sys.modules[key]
        raise
    texts.known = frozenset(texts.read)
    return texts
