"""The gin files beside the file of a variant from outside: its own sizes for the tasks of the protocols."""

from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lra.models.source.imports import Module
from lra.models.source.texts import text_of

FOLDER = "protocols"  # beside the file that registers the variant; in it PROTOCOL/TASK/VARIANT.gin, as in `gin/`


class Sizes(NamedTuple):
    """A file with sizes of a variant.

    Attributes:
      folders: the folders that it is in, below `protocols`; (PROTOCOL, TASK) if it is in its place.
      path: its path below the folder of all modules, as a record has it.
      file: where it lies.
      text: None if it cannot be read.
    """

    folders: tuple[str, ...]
    path: str
    file: str
    text: str | None


def sizes_beside(module: Module, variant: str) -> tuple[Sizes, ...]:
    """All files with sizes of a variant, beside the module that registers it."""
    top, above = Path(module.file).parent / FOLDER, PurePosixPath(module.path).parent / FOLDER
    found = []
    for file in sorted(top.rglob(f"{variant}.gin")):
        inside = file.relative_to(top)
        found.append(Sizes(inside.parts[:-1], str(above / inside.as_posix()), str(file), text_of(file)))
    return tuple(found)


def path_of_sizes(first: str, variant: str, protocol: str, task: str) -> str:
    """The path in a record of a variant's sizes.

    Args:
      first: the path of the module that registers the variant, which is the first of a record.
    """
    return str(PurePosixPath(first).parent / FOLDER / protocol / task / f"{variant}.gin")
