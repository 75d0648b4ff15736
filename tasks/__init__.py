"""The tasks. Each has a file, or a folder for a family, with its generator or loader and its metadata."""

from lra.tasks.flipflop import FLIPFLOP
from lra.tasks.hops import HOPS
from lra.tasks.image import IMAGE
from lra.tasks.intersect import INTERSECT
from lra.tasks.listops import LISTOPS
from lra.tasks.pathfinder import FAMILY as PATHFINDERS
from lra.tasks.range import RANGE
from lra.tasks.retrieval import RETRIEVAL
from lra.tasks.synthetic import SYNTHETIC_IMAGE, SYNTHETIC_RETRIEVAL, SYNTHETIC_TEXT
from lra.tasks.task import Source, Split, Task
from lra.tasks.text import TEXT

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        LISTOPS, TEXT, RETRIEVAL, IMAGE, *PATHFINDERS,
        INTERSECT, HOPS, FLIPFLOP, RANGE, SYNTHETIC_TEXT, SYNTHETIC_RETRIEVAL, SYNTHETIC_IMAGE,
    )
}  # fmt: skip
ARENA = frozenset(TASKS)  # `lra.tasks.outside` adds others to TASKS

__all__ = ["ARENA", "TASKS", "Source", "Split", "Task"]
