"""Loads variants from outside the project: from a file (`--import my_attention.py`) or an entry point of a package."""

import functools
import importlib.metadata
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from lra.errors import UsageError, UserError
from lra.models.attention import VARIANTS
from lra.models.source import Texts, load_text

GROUP = "lra.attention"  # the group of the entry points; each names a module that registers variants
_loaded: dict[Path, tuple[Texts, list[str]]] = {}  # by file: the texts that ran, and the names of its variants


def load_all(paths: Iterable[Path]) -> None:
    """Loads the variants of all installed packages, then those of some files.

    Raises:
      UsageError, UserError: as `load`.
    """
    load_installed()
    for path in paths:
        load(path)


@functools.cache
def load_installed() -> None:
    """Imports, once a process, the modules that installed packages name under the entry point `lra.attention`.

    A module that raises is reported on standard error. It must not stop a run of another variant.
    """
    for point in importlib.metadata.entry_points(group=GROUP):
        try:
            point.load()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            package = point.dist.name if point.dist else "?"
            print(f"lra: variants of package {package} ({point.value}) are left out: {reason}", file=sys.stderr)


def load(path: Path) -> list[str]:
    """Runs a file and returns the names of the variants that it registers.

    It may import what lies beside it. As long as none of these files changes, it is run only once.

    Raises:
      UsageError, UserError: the file does not exist, raises, or registers nothing; the message names file and line.
    """
    path = path.resolve()
    if not path.is_file():
        raise UserError(f"--import {path}: there is no such file")
    if path in _loaded:
        texts, names = _loaded[path]
        if not texts.changed() and all(name in VARIANTS for name in names):
            return names
        for name in names:
            VARIANTS.pop(name, None)
    before = dict(VARIANTS)
    texts = run(path)
    new = [name for name in VARIANTS if VARIANTS[name] is not before.get(name)]
    if not new:
        raise UserError(f'--import {path} registers no variant; decorate one with @register_attention("name")')
    if (file := texts.changed()) is not None:
        for name in new:
            del VARIANTS[name]
        raise UserError(f"--import {path}: {file} was changed while it was loaded; run the same command again")
    _loaded[path] = texts, new
    return new


def run(path: Path) -> Texts:
    """Runs a file and returns the texts that were read for it.

    Raises:
      UsageError, UserError: the file raised; the message names the line.
    """
    try:
        return load_text(path)
    except Exception as error:
        if isinstance(error, SyntaxError) and error.filename == str(path):
            line = error.lineno
        else:
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
            line = frames[-1].lineno if frames else 0
        kind = UsageError if isinstance(error, UsageError) else UserError
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        raise kind(f"--import {path}, line {line}: {reason}".splitlines()[0]) from error
