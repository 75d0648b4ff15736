"""Tasks from outside the project: from a file (`--import my_task.py`) or an entry point of a package.

They are prepared, shown and trained as the arena's own. Their tables say that they are not the arena's.
"""

import contextlib
import dataclasses
import functools
import importlib.metadata
import linecache
import sys
import typing
from collections.abc import Iterator
from types import FrameType

from lra.errors import UsageError, blamed_on, line_in
from lra.files import sha256_text
from lra.tasks import ARENA, TASKS
from lra.tasks.checks import check_source
from lra.tasks.task import Place, Task
from lra.typed import is_plain, kind_of, shown, typed

GROUP = "lra.tasks"  # the group of the entry points; each names a module that registers tasks
MEMBERS = ("max_length", "sizes", "difficulty", "files", "generate", "read")  # of a `Source`


def register_task(task: Task) -> Task:
    """Registers a task under its name, and returns it with the place of this call.

    >>> register_task(Task(name="my_task", source=Parameters, ...))  # doctest: +SKIP

    Raises:
      UsageError: the name is taken, there are more tokens than bytes, or the source is no class of parameters.
    """
    if not isinstance(task, Task):
        raise UsageError(f"register_task takes a lra.tasks.Task, not {kind_of(task)}")
    if task.name in ARENA:
        raise UsageError(f"task '{task.name}' is one of the arena's; choose another name")
    if task.name in TASKS:
        raise UsageError(f"a task called '{task.name}' is registered already ({TASKS[task.name].place})")
    if task.vocab_size > 256:
        raise UsageError(f"task '{task.name}': vocab_size = {task.vocab_size} is not 1 to 256, as a token is a byte")
    check_class(task)
    TASKS[task.name] = dataclasses.replace(task, place=place_of(sys._getframe(1), task))
    return TASKS[task.name]


def check_class(task: Task) -> None:
    """Compares the class of a task's parameters with what `lra.tasks.task.Source` says.

    Raises:
      UsageError: it is something else.
    """
    who, source = f"task '{task.name}'", task.source
    if not isinstance(source, type) or not dataclasses.is_dataclass(source):
        name = source.__name__ if isinstance(source, type) else shown(source)
        raise UsageError(f"{who}: source = {name} is not a class under @dataclasses.dataclass(frozen=True)")
    fields, hints = {field.name: field for field in dataclasses.fields(source)}, typing.get_type_hints(source)
    for name in plain_values(source):
        value, hint = getattr(source, name), hints.get(name)
        if hint is typing.ClassVar or typing.get_origin(hint) is typing.ClassVar:
            continue
        if name not in fields or fields[name].default != value:
            raise UsageError(
                f"{who}: {name} = {shown(value)} is no parameter of {source.__name__}; write it as "
                f"'{name}: {type(value).__name__} = {shown(value)}' under @dataclasses.dataclass(frozen=True)"
            )
    if not source.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise UsageError(f"{who}: {source.__name__} is not frozen; write @dataclasses.dataclass(frozen=True)")
    if missing := [name for name in MEMBERS if name not in fields and not hasattr(source, name)]:
        raise UsageError(f"{who}: {source.__name__} has no {missing[0]}; extend lra.tasks.probe.Probe, which has most")
    for name, field in fields.items():
        if field.default_factory is not dataclasses.MISSING:
            raise UsageError(f"{who}: {name} has a default_factory; give it a plain default")
        if field.default is dataclasses.MISSING:
            continue
        try:
            typed(field.default, hints[name])
        except ValueError as error:
            raise UsageError(f"{who}: {name} = {error}") from error
        if not is_plain(field.default):
            raise UsageError(f"{who}: {name} = {shown(field.default)} is no plain value, a number or a text")
    if all(field.default is not dataclasses.MISSING for field in fields.values()):
        check_source(task, task.source())


def plain_values(source: type) -> list[str]:
    """The names to which a class and its bases outside the project give plain values."""
    own = [base for base in source.__mro__ if not base.__module__.startswith(f"{__package__}.")]
    return [name for base in own for name, value in vars(base).items() if not name.startswith("_") and is_plain(value)]


def place_of(caller: FrameType, task: Task) -> Place:
    """The place of a call of `register_task`."""
    file, module = caller.f_code.co_filename, caller.f_globals.get("__name__", "")
    files, top = {file}, module.partition(".")[0]
    if not getattr(sys.modules.get(top), "__file__", None):  # `--import` has a package for a file and those beside it
        beside = [other for name, other in sys.modules.items() if name.startswith(f"{top}.")]
        files |= {str(other.__file__) for other in beside if getattr(other, "__file__", None)}
    texts = []
    for path in sorted(files):
        linecache.checkcache(path)
        texts.append("".join(linecache.getlines(path)))
        for recipe in filter(None, task.recipes.values()):
            texts[-1] = texts[-1].replace(recipe, "")
    return Place(file, caller.f_lineno, sha256_text("\0".join(texts)))


@contextlib.contextmanager
def blaming(task: Task) -> Iterator[None]:
    """Turns what the file of a task from outside raises, or that it exits, into an error that names the line.

    Raises:
      UsageError, UserError: it raised. What others raise stays as it is.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        line = line_in({task.place.file}, error) if task.place else None
        if line is None:
            raise
        raise blamed_on(f"task '{task.name}' failed at {line}", error) from error


@functools.cache
def load_installed() -> None:
    """Imports, once a process, the modules that installed packages name under the entry point `lra.tasks`.

    A module that raises is reported on standard error. It must not stop a run on another task.
    """
    for point in importlib.metadata.entry_points(group=GROUP):
        before = dict(TASKS)
        try:
            point.load()
        except Exception as error:
            for name in TASKS.keys() - before.keys():
                del TASKS[name]
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            package = point.dist.name if point.dist else "?"
            print(f"lra: tasks of package {package} ({point.value}) are left out: {reason}", file=sys.stderr)
