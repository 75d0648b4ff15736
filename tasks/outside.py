"""Tasks from outside the project: from a file (`--import my_task.py`) or an entry point of a package.

They are prepared, shown and trained as the arena's own. Their tables say that they are not the arena's.
"""

import functools
import importlib.metadata
import sys

from lra.errors import UsageError
from lra.tasks import ARENA, TASKS
from lra.tasks.task import Task

GROUP = "lra.tasks"  # the group of the entry points; each names a module that registers tasks


def register_task(task: Task) -> Task:
    """Registers a task under its name, and returns it.

    >>> register_task(Task(name="my_task", source=Parameters, ...))  # doctest: +SKIP

    Raises:
      UsageError: the name is taken.
    """
    if task.name in ARENA:
        raise UsageError(f"task '{task.name}' is one of the arena's; choose another name")
    if task.name in TASKS:
        raise UsageError(f"a task called '{task.name}' is registered already")
    TASKS[task.name] = task
    return task


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
