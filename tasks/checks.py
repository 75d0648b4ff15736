"""Whether the examples that a task yields are what the task says of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lra.errors import UserError
from lra.tasks.task import SPLITS, Blocks, Source, Split, Task


def check_block(task: Task, source: Source, name: str, block: Split, first: int) -> None:
    """Compares a block of examples with what task and source say.

    Args:
      name: the split of the block.
      first: the place of its first example in the split.

    Raises:
      UserError: the block is something else; the message names split, example and token.
    """
    if name not in SPLITS:
        raise UserError(f"{task.name} yields a split '{name}'; there are {', '.join(SPLITS)}")
    length, documents, count = source.max_length, (task.documents,) if task.documents > 1 else (), len(block.inputs)
    shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
        "inputs": (np.uint8, (count, *documents, length)),
        "lengths": (np.int32, (count, *documents)),
        "labels": (np.int32, (count, length) if task.per_token else (count,)),
    }
    if source.difficulty:
        shapes["bins"] = (np.uint8, shapes["labels"][1])
    for column, (dtype, shape) in shapes.items():
        array = getattr(block, column)
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
            found = f"{array.dtype}{[*array.shape]}" if isinstance(array, np.ndarray) else f"{type(array).__name__}"
            wanted = f"{np.dtype(dtype)}{[*shape]}"
            raise UserError(f"{task.name} yields {column} {found} from {name} example {first} on, not {wanted}")

    def refuse(wrong: np.ndarray, array: np.ndarray, what: str, rule: str) -> None:
        """Raises UserError if something is wrong somewhere; the first place is named."""
        if wrong.any():
            example, *place = np.argwhere(wrong)[0].tolist()
            where = f"{name} example {first + example}" + (f", place {place[-1]}" if place else "")
            raise UserError(f"{task.name}, {where}: {what} {array[(example, *place)]} is not {rule}")

    if task.vocab_size < 256:
        refuse(block.inputs >= task.vocab_size, block.inputs, "token", f"below vocab_size {task.vocab_size}")
    refuse((block.lengths < 0) | (block.lengths > length), block.lengths, "length", f"from 0 to max_length {length}")
    least = -1 if task.per_token else 0
    outside = (block.labels < least) | (block.labels >= task.num_classes)
    refuse(outside, block.labels, "label", f"one of the {task.num_classes} classes" + (", or -1" if least else ""))
    if task.per_token:
        padding = np.arange(length) >= block.lengths[:, None]
        refuse(padding & (block.labels >= 0), block.labels, "label", "-1, beyond the length of the example")
    if source.difficulty and block.bins is not None:
        levels = len(source.difficulty.levels)
        refuse(block.bins >= levels, block.bins, "bin", f"one of the {levels} levels of difficulty")


def check_again(task: Task, blocks: Blocks, folder: Path, columns: Sequence[str]) -> None:
    """Compares the examples of a second call with those that were written to a folder.

    Raises:
      UserError: they are others, so that the examples are no function of the parameters.
    """
    parts: dict[str, list[Split]] = {split: [] for split in SPLITS}
    for name, block in blocks:
        parts[name].append(block)
    for split, own in parts.items():
        for column in columns if own else ():
            again = np.concatenate([getattr(block, column) for block in own])
            if not np.array_equal(again, np.load(folder / f"{split}.{column}.npy", mmap_mode="r")):
                raise UserError(
                    f"{task.name} yields other {split} {column} on a second call; its examples must be a function of "
                    "its parameters: draw all that is random from a generator with a seed among them"
                )
