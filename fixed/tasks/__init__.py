"""Tasks: one file each, with its generator or loader and its metadata."""

from lra.tasks.listops import LISTOPS
from lra.tasks.task import Source, Split, Task

TASKS: dict[str, Task] = {task.name: task for task in (LISTOPS,)}

__all__ = ["TASKS", "Source", "Split", "Task"]
