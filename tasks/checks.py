"""Whether the examples that a task yields are what the task says of them."""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lra.errors import UsageError, UserError
from lra.tasks.task import SPLITS, Blocks, Difficulty, Source, Split, Task, fields_of
from lra.typed import is_plain, kind_of, shown


def check_source(task: Task, source: Source) -> None:
    """Compares the parameters of a task's data with what the task says.

    Raises:
      UsageError: they are something else.
    """
    who, length, sizes, difficulty = f"task '{task.name}'", source.max_length, source.sizes, source.difficulty
    whole = lambda number, least: type(number) is int and number >= least
    for name, value in dataclasses.asdict(source).items():  # type: ignore[call-overload]
        if not is_plain(value):
            raise UsageError(f"{who}: {name} = {shown(value)} is no plain value, which a manifest could keep")
    if not whole(length, 1):
        raise UsageError(f"{who}: max_length = {shown(length)} is not a whole number of at least 1")
    if not isinstance(sizes, dict) or {*sizes} != {*SPLITS} or not all(whole(sizes[name], 0) for name in SPLITS):
        raise UsageError(f"{who}: sizes = {shown(sizes)} is not the number of examples of {', '.join(SPLITS)}")
    if not (sizes["train"] and sizes["test"]):
        raise UsageError(f"{who}: sizes = {sizes}: there must be examples for training and for the test")
    if difficulty is not None and not isinstance(difficulty, Difficulty):
        raise UsageError(f"{who}: its difficulty is {kind_of(difficulty)}; it must be a lra.tasks.task.Difficulty")
    if task.picture and math.isqrt(length) ** 2 != length:
        raise UsageError(f"{who} has picture = True, and max_length = {length} tokens are no square")


def difference(task: Task, source: Source, manifest: Mapping[str, Any]) -> str | None:
    """What a prepared task was made with if that is not what there is now, in words; None if it is."""
    if manifest["parameters"] != fields_of(source):
        return "other parameters"
    if (manifest["vocab_size"], manifest["num_classes"]) != (task.vocab_size, task.num_classes):
        return "another vocabulary or other classes"
    if task.place and manifest.get("source_sha256") != task.place.sha256:
        return f"another text of {task.place.file}"
    return None


def checked(task: Task, source: Source, blocks: Blocks) -> Iterator[tuple[str, Split, int]]:
    """The blocks in the types of what is prepared, each with the place of its first example in its split.

    Raises:
      UserError: a block is not what task and source say, or there are more or fewer examples.
    """
    there = dict.fromkeys(SPLITS, 0)
    if not isinstance(blocks, Iterable):
        raise UserError(f"{task.name}: generate returned {kind_of(blocks)} and yields no (name, Split)")
    for pair in blocks:
        if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[1], Split):
            found = f"({', '.join(map(kind_of, pair))})" if isinstance(pair, tuple) else kind_of(pair)
            raise UserError(f"{task.name}: generate yields {found} and not (name, Split)")
        name, block = pair
        if name not in SPLITS:
            raise UserError(f"{task.name} yields a split {shown(name)}, which is none of {', '.join(SPLITS)}")
        block = check_block(task, source, name, block, there[name])
        first, there[name] = there[name], there[name] + len(block)
        if there[name] > source.sizes[name]:  # at once, since there may be no end
            raise UserError(f"{task.name} says that it has {source.sizes[name]:,} {name} examples and yields more")
        yield name, block, first
    if there != source.sizes:
        raise UserError(f"{task.name} says that it has {source.sizes} examples and yields {there}")


def check_block(task: Task, source: Source, name: str, block: Split, first: int) -> Split:
    """A block of examples in the types of what is prepared, if it is what task and source say.

    Args:
      name: the split of the block.
      first: the place of its first example in the split.

    Raises:
      UserError: the block is something else; the message names split, example and token.
    """
    length, documents = source.max_length, (task.documents,) if task.documents > 1 else ()
    count = getattr(block.inputs, "shape", ())[:1]
    shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
        "inputs": (np.uint8, (*count, *documents, length)),
        "lengths": (np.int32, (*count, *documents)),
        "labels": (np.int32, (*count, length) if task.per_token else count),
    }
    if source.difficulty:
        shapes["bins"] = (np.uint8, shapes["labels"][1])
    elif block.bins is not None:
        raise UserError(f"{task.name} yields bins, but its parameters have no property `difficulty` that explains them")
    for column, (dtype, shape) in shapes.items():
        array = getattr(block, column)
        whole = isinstance(array, np.ndarray) and np.issubdtype(array.dtype, np.integer)
        if not whole or array.shape != shape:
            found = f"{array.dtype}{[*array.shape]}" if isinstance(array, np.ndarray) else f"{type(array).__name__}"
            wanted = f"{np.dtype(dtype)}{[*shape]}"
            raise UserError(f"{task.name} yields {column} {found} from {name} example {first} on, not {wanted}")

    def refuse(wrong: np.ndarray, array: np.ndarray, what: str, rule: str) -> None:
        """Raises UserError if something is wrong somewhere; the first place is named."""
        if wrong.any():
            example, *place = np.argwhere(wrong)[0].tolist()
            where = f"{name} example {first + example}" + (f", place {place[-1]}" if place else "")
            raise UserError(f"{task.name}, {where}: {what} {array[(example, *place)]} is not {rule}")

    def refuse_outside(array: np.ndarray, least: int, most: int, what: str, rule: str) -> None:
        refuse((array < least) | (array > most), array, what, rule)

    if task.vocab_size < 256 or block.inputs.dtype != np.uint8:
        refuse_outside(block.inputs, 0, task.vocab_size - 1, "token", f"below vocab_size {task.vocab_size}")
    refuse_outside(block.lengths, 0, length, "length", f"from 0 to max_length {length}")
    least, classes = -1 if task.per_token else 0, f"one of the {task.num_classes} classes"
    refuse_outside(block.labels, least, task.num_classes - 1, "label", classes + (", or -1" if least else ""))
    there = block.labels >= 0
    if task.per_token:
        padding = np.arange(length) >= block.lengths[:, None]
        refuse(padding & there, block.labels, "label", "-1, beyond the length of the example")
    if source.difficulty and block.bins is not None:
        trained = source.difficulty.trained
        refuse_outside(block.bins, 0, len(trained) - 1, "bin", f"one of the {len(trained)} levels of difficulty")
        if name == "train":
            untrained = there & ~np.asarray(trained)[block.bins]
            refuse(untrained, block.bins, "bin", "of a level that the training split has, by `trained`")
    return Split(**{column: getattr(block, column).astype(dtype, copy=False) for column, (dtype, _) in shapes.items()})


@dataclasses.dataclass
class Tally:
    """What is counted while a split is written.

    Attributes:
      labels: how often each label occurs.
      levels: how often a label of each level of difficulty occurs.
      tokens, examples: how many there are.
      repeated: examples that are also in the training split, token by token.
    """

    labels: np.ndarray
    levels: np.ndarray
    tokens: int = 0
    examples: int = 0
    repeated: int = 0

    @classmethod
    def empty(cls, task: Task, source: Source) -> "Tally":
        levels = len(source.difficulty.levels) if source.difficulty else 0
        return cls(np.zeros(task.num_classes, np.int64), np.zeros(levels, np.int64))

    def add(self, block: Split) -> None:
        there = block.labels >= 0
        self.labels += np.bincount(block.labels[there], minlength=len(self.labels))
        if block.bins is not None:
            self.levels += np.bincount(block.bins[there], minlength=len(self.levels))
        self.tokens += int(block.lengths.sum())
        self.examples += len(block)


def check_whole(task: Task, source: Source, tally: Mapping[str, Tally]) -> list[str]:
    """What is odd about all examples together, for a note: few examples may lack a class or a level.

    Raises:
      UserError: a split has no label, or no token.
    """
    for name, own in tally.items():
        if own.examples and not own.labels.any():
            raise UserError(f"{task.name}: no token of the {name} split has a label")
        if own.examples and not own.tokens:
            raise UserError(f"{task.name}: all {name} examples have the length 0")
    odd = []
    if np.count_nonzero(labels := tally["train"].labels) == 1:
        odd.append(f"all training examples are of one class, '{task.classes[labels.argmax()]}'")
    for name in ("train", "test") if (difficulty := source.difficulty) else ():
        assert difficulty
        for level, trained, count in zip(difficulty.levels, difficulty.trained, tally[name].levels):
            if not count and (trained or name == "test"):
                odd.append(f"no label of the {name} split is of the level {level} ({difficulty.name})")
    return odd


def check_again(task: Task, source: Source, blocks: Blocks, folder: Path, columns: Sequence[str]) -> None:
    """Compares the examples of a second call with those that were written to a folder.

    Raises:
      UserError: they are others, so that the examples are no function of the parameters.
    """
    written = {
        (name, column): np.load(folder / f"{name}.{column}.npy", mmap_mode="r") for name in SPLITS for column in columns
    }
    try:
        for name, block, first in checked(task, source, blocks):
            for column in columns:
                if not np.array_equal(getattr(block, column), written[name, column][first : first + len(block)]):
                    raise UserError(f"{task.name} yields other {name} {column}")
    except UserError as error:
        raise UserError(
            f"{error} on a second call; its examples must be a function of its parameters: draw all that is random "
            "from a generator with a seed among them"
        ) from error
