"""Loads variants from outside the project: from a file (`--import my_attention.py`) or an entry point of a package."""

import functools
import hashlib
import importlib.metadata
import importlib.util
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from lra.errors import UsageError, UserError
from lra.models.attention import VARIANTS

GROUP = "lra.attention"  # the group of the entry points; each names a module that registers variants
_loaded: dict[Path, tuple[str, list[str]]] = {}  # by file: the hash of its text, and the names of its variants


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
    """Runs a file and returns the names of the variants that it registers. An unchanged file is run only once.

    Raises:
      UsageError, UserError: the file does not exist, raises, or registers nothing; the message names file and line.
    """
    path = path.resolve()
    if not path.is_file():
        raise UserError(f"--import {path}: there is no such file")
    text = path.read_bytes()
    digest = hashlib.sha256(text).hexdigest()
    known, names = _loaded.get(path, ("", []))
    if known == digest and all(name in VARIANTS for name in names):
        return names
    for name in names:
        VARIANTS.pop(name, None)
    before = dict(VARIANTS)
    run(path, text)
    new = [name for name in VARIANTS if VARIANTS[name] is not before.get(name)]
    if not new:
        raise UserError(f'--import {path} registers no variant; decorate one with @register_attention("name")')
    if path.read_bytes() != text:  # its variants may have recorded either text
        for name in new:
            del VARIANTS[name]
        raise UserError(f"--import {path} was changed while it was loaded; run the same command again")
    _loaded[path] = digest, new
    return new


def run(path: Path, text: bytes) -> None:
    """Runs the text of a file as a module. No bytecode that Python keeps of it is asked: it may be of another text.

    Raises:
      UsageError, UserError: the file raised; the message names the line.
    """
    # the folder too: two files of one name are two modules, so that neither's variants pass for the other's
    folder = hashlib.sha256(str(path.parent).encode()).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(f"lra_import_{folder}_{path.stem}", path)
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        exec(compile(text, str(path), "exec", dont_inherit=True), module.__dict__)
    except Exception as error:
        if isinstance(error, SyntaxError) and error.filename == str(path):
            line = error.lineno
        else:
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
            line = frames[-1].lineno if frames else 0
        kind = UsageError if isinstance(error, UsageError) else UserError
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        raise kind(f"--import {path}, line {line}: {reason}".splitlines()[0]) from error
