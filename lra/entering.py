"""Makes a result from elsewhere: from predictions that another program wrote, and what its authors declare."""

import datetime
import tomllib
import zipfile
from pathlib import Path

import msgspec
import numpy as np
from jaxtyping import Int, Integer

from lra.errors import UserError
from lra.leaderboard.external import SCHEMA, About, External, ExternalSeed, hash_of
from lra.leaderboard.integrity import SEEDS
from lra.leaderboard.predictions import pack
from lra.leaderboard.strict import shaped
from lra.recording import by_level, task_info
from lra.tasks import Source, Split, Task
from lra.tasks.prepared import Prepared

ARRAYS = ("seeds", "predictions", "labels")
INDEX = "index"


def about_of(path: Path) -> About:
    """What a TOML file declares.

    Raises:
      UserError: it cannot be read, lacks a key, or has one that is not known; the message names file and key.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as TOML ({error})") from error
    fields = {field.name: field.required for field in msgspec.structs.fields(About)}
    if unknown := sorted(content.keys() - fields.keys()):
        raise UserError(f"{path}: there is no key '{unknown[0]}'; there are {', '.join(fields)}")
    if lacking := [name for name, required in fields.items() if required and name not in content]:
        raise UserError(f"{path} lacks {', '.join(lacking)}")
    return shaped(content, About, str(path))


def arrays_of(path: Path) -> dict[str, Integer[np.ndarray, "..."]]:
    """The arrays of an npz file, all of whole numbers. Nothing in it is executed.

    Raises:
      UserError: it cannot be read, lacks an array, has another one, or one of other numbers.
    """
    found = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise UserError(f"{path} is no .npz file; write it with numpy.savez")
            names = [*file.files]
            if lacking := [name for name in ARRAYS if name not in names]:
                raise UserError(f"{path} lacks the array '{lacking[0]}'; it has {', '.join(names) or 'none'}")
            if unknown := [name for name in names if name not in (*ARRAYS, INDEX)]:
                raise UserError(f"{path}: there is no array '{unknown[0]}'; there are {', '.join(ARRAYS)} and {INDEX}")
            for name in names:
                found[name] = file[name]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, MemoryError) as error:
        raise UserError(f"{path} cannot be read as a .npz file ({error!s:.200})") from error
    for name, array in found.items():
        if not np.issubdtype(array.dtype, np.integer):
            hint = "; give classes, as logits.argmax(-1)" if name == "predictions" else ""
            raise UserError(f"{path}: '{name}' is {array.dtype}, not whole numbers{hint}")
    return found


def answers_of(path: Path, test: Split, classes: int) -> dict[int, Int[np.ndarray, "examples *tokens"]]:
    """The predictions of each seed, in the order of the test split. What has no label is -1.

    Raises:
      UserError: the file is not of this test split; the message says where they part.
    """
    arrays = arrays_of(path)
    labels = np.asarray(test.labels)
    seeds, predictions, told = (arrays[name] for name in ARRAYS)
    if seeds.ndim != 1 or not 0 < len(seeds) <= SEEDS:
        raise UserError(f"{path}: 'seeds' has shape {seeds.shape}, not [seeds], 1 to {SEEDS}")
    numbers = seeds.tolist()
    if twice := [seed for place, seed in enumerate(numbers) if seed in numbers[:place]]:
        raise UserError(f"{path}: seed {twice[0]} is in 'seeds' twice")
    if outside := [seed for seed in numbers if not 0 <= seed < 1 << 32]:
        raise UserError(f"{path}: seed {outside[0]} is not from 0 to 2^32 - 1")
    for name, array, wanted in (
        ("labels", told, labels.shape),
        ("predictions", predictions, (len(seeds), *labels.shape)),
    ):
        if array.shape != wanted:
            raise UserError(
                f"{path}: '{name}' has shape {array.shape}, the test split asks for {wanted}; all of it is scored, "
                "in the lengths of the prepared task"
            )
    if INDEX in arrays:
        order = place_of(path, arrays[INDEX], len(labels))
        told, predictions = told[order], predictions[:, order]
    if (wrong := np.argwhere(told != labels)).size:
        where = ", ".join(map(str, wrong[0].tolist()))
        raise UserError(
            f"{path}: label [{where}] is {told[tuple(wrong[0])]}, that of the test split {labels[tuple(wrong[0])]}; "
            f"{len(np.unique(wrong[:, 0])):,} of {len(labels):,} examples differ, so it is another split or order; "
            f"'{INDEX}' can say which example each row is"
        )
    there = np.broadcast_to(labels >= 0, predictions.shape)
    if (wrong := np.argwhere(there & ((predictions < 0) | (predictions >= classes)))).size:
        where = ", ".join(map(str, wrong[0].tolist()))
        raise UserError(
            f"{path}: prediction [{where}] is {predictions[tuple(wrong[0])]}, the classes are 0 to {classes - 1}"
        )
    return dict(zip(numbers, np.where(there, predictions, -1)))


def place_of(path: Path, index: Integer[np.ndarray, "..."], examples: int) -> Int[np.ndarray, " examples"]:
    """For each example of the test split its row in the file.

    Raises:
      UserError: `index` does not name each example once.
    """
    if index.shape != (examples,):
        raise UserError(f"{path}: '{INDEX}' has shape {index.shape}, not ({examples},)")
    there = np.bincount(np.clip(index, -1, examples).astype(np.int64) + 1, minlength=examples + 2)
    if there[0] or there[-1]:
        wrong = index[(index < 0) | (index >= examples)][0]
        raise UserError(f"{path}: '{INDEX}' has {wrong}, the examples are 0 to {examples - 1}")
    if (there[1:-1] != 1).any():
        raise UserError(f"{path}: '{INDEX}' has example {int(np.argmax(there[1:-1] > 1))} twice")
    return np.argsort(index)


def enter(task: Task, source: Source, protocol: str | None, data: Prepared, predictions: Path, about: Path) -> External:
    """The result of some predictions. The arena computes all scores.

    Args:
      protocol: the protocol whose data it is; None for the task's defaults.
      predictions: a .npz file with `seeds` [seeds], `predictions` [seeds, examples], or [seeds, examples, length] where
        tokens have labels, `labels` as the program saw them, and perhaps `index`, the place of each row in the test
        split.
      about: a TOML file with the fields of `About`.

    Raises:
      UserError: a file cannot be read, or is of something else; the message names the place.
    """
    declared, test = about_of(about), data.splits["test"]
    labels = np.asarray(test.labels)
    there, seeds = labels >= 0, []
    for seed, answers in answers_of(predictions, test, task.num_classes).items():
        right = answers[there] == labels[there]
        levels = by_level(source, test, answers)
        share = int(right.sum()) / right.size
        seeds.append(ExternalSeed(seed=seed, accuracy=share, by_level=levels, predictions=pack(answers)))
    info = task_info(task, source, data)
    return External(
        schema=SCHEMA, kind="external", result=hash_of(info, protocol, declared, seeds), task=info, protocol=protocol,
        about=declared, seeds=tuple(seeds),
        entered_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )  # fmt: skip
