"""Loads variants and tasks from outside the project: a file (`--import my_attention.py`) or an entry point."""

import functools
import importlib.metadata
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from lra.errors import UsageError, UserError, blamed_on, line_in
from lra.models.attention import VARIANTS, Variant
from lra.models.source import Texts, load_text
from lra.recipe import task_named, variant_named
from lra.tasks import TASKS

GROUP = "lra.attention"  # the group of the entry points; each names a module that registers variants
# by file: the texts that ran, and the names of its variants and of its tasks
_loaded: dict[Path, tuple[Texts, list[str], list[str]]] = {}


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

    A module that raises, or a name that means something else, is reported on standard error. It must not stop a run of
    another variant.
    """
    for point in importlib.metadata.entry_points(group=GROUP):
        before = dict(VARIANTS)
        try:
            point.load()
            refuse_taken(registered_since(before))
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            package = point.dist.name if point.dist else "?"
            print(f"lra: variants of package {package} ({point.value}) are left out: {reason}", file=sys.stderr)


def load(path: Path) -> list[str]:
    """Runs a file that registers variants or tasks, and returns the names of the variants.

    It may import what lies beside it. As long as none of these files and of its variants' sizes changes, it is run only
    once.

    Raises:
      UsageError, UserError: the file does not exist, raises, registers nothing, or takes a name that means something
        else; the message names file and line. Or this locale has no letters for its path.
    """
    path = path.resolve()
    try:
        str(path).encode()
    except UnicodeEncodeError as error:  # JAX could not name the place of an operation
        raise UserError(f"--import {str(path)!a}: this locale cannot name it; set PYTHONUTF8=1") from error
    if path.is_dir():
        raise UserError(f"--import {path} is a folder; name the Python file that registers the variant")
    if not path.is_file():
        beside = path.with_name(f"{path.name}.py")
        hint = f"; did you mean {beside}?" if beside.is_file() else ""
        raise UserError(f"--import {path}: there is no such file{hint}")
    if path.suffix == ".ipynb":
        raise UserError(f"--import {path} is a notebook; put the variant into a Python file, or call lra.run in it")
    if path in _loaded:
        texts, names, tasks = _loaded[path]
        there = all(name in VARIANTS and is_current(VARIANTS[name]) for name in names) and TASKS.keys() >= {*tasks}
        if there and not texts.changed():
            return names
        for name in names:
            VARIANTS.pop(name, None)
        for name in tasks:
            TASKS.pop(name, None)
    before, tasks_before = dict(VARIANTS), dict(TASKS)
    try:
        texts = run(path)
        new, tasks = registered_since(before), [name for name in TASKS if TASKS[name] is not tasks_before.get(name)]
        refuse_taken(new)
        for name in tasks:
            task_named(name, None)  # which refuses a name that means something else
            if name in before:
                raise UsageError(f"task '{name}' ({TASKS[name].place}): an attention variant has this name")
        if not new and not tasks:
            raise UserError(
                f"--import {path} registers no variant and no task; decorate a variant with "
                '@register_attention("name"), or call register_task'
            )
        if (file := texts.changed()) is not None:
            raise UserError(f"--import {path}: {file} was changed while it was loaded; run the same command again")
    except BaseException:
        for name in VARIANTS.keys() - before.keys():
            del VARIANTS[name]
        for name in TASKS.keys() - tasks_before.keys():
            del TASKS[name]
        raise
    _loaded[path] = texts, new, tasks
    return new


def is_current(variant: Variant) -> bool:
    """Whether a variant has the sizes that lie beside its file now."""
    return variant.source is None or not variant.source.has_other_sizes(variant.name)


def loaded_from(name: str) -> Path | None:
    """The file from which a variant or a task was loaded; None for the project's own and those of packages."""
    return next((path for path, (_, names, tasks) in _loaded.items() if name in (*names, *tasks)), None)


def registered_since(before: Mapping[str, Variant]) -> list[str]:
    """The names of the variants that were registered since the registry was copied."""
    return [name for name in VARIANTS if VARIANTS[name] is not before.get(name)]


def refuse_taken(names: Iterable[str]) -> None:
    """Takes variants back whose names a configuration could not tell from a section's or a task's.

    Raises:
      UsageError: there were some.
    """
    refused = []
    for name in names:
        try:
            variant_named(name)
        except UsageError as error:
            refused.append(str(error))
            del VARIANTS[name]
    if refused:
        raise UsageError("; ".join(refused))


def run(path: Path) -> Texts:
    """Runs a file and returns the texts that were read for it.

    Raises:
      UsageError, UserError: the file raised, or exits; the message names the line.
    """
    try:
        return load_text(path)
    except (Exception, SystemExit) as error:
        where = line_in({str(path)}, error)
        if isinstance(error, SyntaxError) and error.filename == str(path):
            where = f"{path}, line {error.lineno}"
        raise blamed_on(f"--import {where or path}", error) from error
