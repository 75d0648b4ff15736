"""Makes a result from elsewhere: from predictions that another program wrote, and what its authors declare."""

import datetime
import tomllib
from pathlib import Path

import msgspec
import numpy as np
from jaxtyping import Int
from msgspec.structs import replace

from lra.errors import UsageError, UserError, unknown
from lra.files import write_atomically
from lra.leaderboard.external import (
    SCHEMA,
    About,
    External,
    ExternalSeed,
    contradictions,
    faults_of_about,
    file_name,
    hash_of,
    read,
)
from lra.leaderboard.integrity import SEEDS
from lra.leaderboard.predictions import pack
from lra.recipe import task_and_source
from lra.recording import by_level, task_info
from lra.submission import faults_of_system
from lra.tasks import Source, Split, Task
from lra.tasks.prepared import Prepared
from lra.tasks.task import fields_of

ARRAYS = ("seeds", "predictions", "labels")
INDEX = "index"


def there(path: Path, suffix: str) -> Path:
    """The path of a file that is there.

    Raises:
      UsageError: there is no such file; the message names the nearest one with the suffix beside it.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a {suffix} file")
    if not path.exists():
        raise unknown("file", str(path), map(str, path.parent.glob(f"*{suffix}")))
    return path


def about_of(path: Path) -> About:
    """What a TOML file declares.

    Raises:
      UsageError: there is no such file.
      UserError: it cannot be read, lacks a key, has one that is not known, or one with a value that is none; the
        message names file and key.
    """
    try:
        content = tomllib.loads(there(path, ".toml").read_text("utf-8-sig"))  # editors may write a byte order mark
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not in UTF-8; save it in UTF-8") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as TOML ({error}); write lines of the form KEY = VALUE") from error
    fields = {field.name: field.required for field in msgspec.structs.fields(About)}
    if unknown_keys := sorted(content.keys() - fields.keys()):
        raise UserError(f"{path}: there is no key '{unknown_keys[0]}'; there are {', '.join(fields)}")
    if lacking := [name for name, required in fields.items() if required and name not in content]:
        raise UserError(f"{path} lacks {', '.join(lacking)}")
    if problem := next(faults_of_about(content), None):
        raise UserError(f"{path}: {problem}")
    if problem := next(faults_of_system(content["name"]), None):
        raise UserError(f"{path}: {problem}")
    return About(**content)


def arrays_of(path: Path) -> dict[str, Int[np.ndarray, "..."]]:
    """The arrays of an npz file, all of whole numbers. Nothing in it is executed.

    Raises:
      UsageError: there is no such file.
      UserError: it cannot be read, lacks an array, has another one, or one of other numbers.
    """
    form = f"write it with numpy.savez, with the arrays {', '.join(ARRAYS)}"
    try:
        file = np.load(there(path, ".npz"), allow_pickle=False)
    except UserError:
        raise
    except Exception as error:  # a file of another kind or a damaged one: NumPy and zipfile have many errors for it
        raise UserError(f"{path} cannot be read as a .npz file; {form}") from error
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise UserError(f"{path} is a single array and no .npz file; {form}")
    found = {}
    with file:
        names = [*file.files]
        if lacking := [name for name in ARRAYS if name not in names]:
            raise UserError(f"{path} lacks the array '{lacking[0]}'; it has {', '.join(names) or 'none'}")
        if others := [name for name in names if name not in (*ARRAYS, INDEX)]:
            raise UserError(f"{path}: there is no array '{others[0]}'; there are {', '.join(ARRAYS)} and {INDEX}")
        for name in names:
            try:
                array = np.asarray(file[name])
            except Exception as error:  # as above
                raise UserError(
                    f"{path}: '{name}' cannot be read: it is damaged, too large, or no array of numbers; write it "
                    "again with numpy.savez"
                ) from error
            if array.dtype.kind not in "iu":
                hint = "; give classes, as logits.argmax(-1)" if name == "predictions" else ""
                raise UserError(f"{path}: '{name}' is {array.dtype}, not whole numbers{hint}")
            if array.dtype == np.uint64:  # what no int64 has is wrong as its largest number is
                array = np.minimum(array, np.uint64(np.iinfo(np.int64).max))
            found[name] = array.astype(np.int64)
    return found


def answers_of(path: Path, test: Split, classes: int) -> dict[int, Int[np.ndarray, "examples *tokens"]]:
    """The predictions of each seed, by seed, in the order of the test split. What has no label is -1.

    Raises:
      UsageError: there is no such file.
      UserError: the file is not of this test split; the message says where they part, in the order of the file.
    """
    arrays = arrays_of(path)
    labels = np.asarray(test.labels, np.int64)
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
    order = arrays.get(INDEX, np.arange(len(labels)))
    check_order(path, order, len(labels))
    expected = labels[order]
    # any negative number may say that there is no label: it is -100 in PyTorch
    if (wrong := np.argwhere(np.maximum(told, -1) != expected)).size:
        where, row = ", ".join(map(str, wrong[0].tolist())), wrong[0][0]
        example = f", example {order[row]} by '{INDEX}'," if INDEX in arrays else ""
        way_out = f"split, or '{INDEX}' is wrong" if example else f"split or order; '{INDEX}' can say which each row is"
        raise UserError(
            f"{path}: label [{where}]{example} is {told[tuple(wrong[0])]}, that of the test split "
            f"{expected[tuple(wrong[0])]}; {len(np.unique(wrong[:, 0])):,} of {len(labels):,} examples differ, so it "
            f"is another {way_out}"
        )
    labelled = np.broadcast_to(expected >= 0, predictions.shape)
    if (wrong := np.argwhere(labelled & ((predictions < 0) | (predictions >= classes)))).size:
        where = ", ".join(map(str, wrong[0].tolist()))
        raise UserError(
            f"{path}: prediction [{where}] is {predictions[tuple(wrong[0])]}, the classes are 0 to {classes - 1}"
        )
    return dict(zip(numbers, np.where(labelled, predictions, -1)[:, np.argsort(order)]))


def check_order(path: Path, index: Int[np.ndarray, "..."], examples: int) -> None:
    """Raises UserError if an index does not name each example once."""
    if index.shape != (examples,):
        raise UserError(f"{path}: '{INDEX}' has shape {index.shape}, not ({examples},)")
    if (outside := index[(index < 0) | (index >= examples)]).size:
        raise UserError(f"{path}: '{INDEX}' has {outside[0]}, the examples are 0 to {examples - 1}")
    if (counts := np.bincount(index, minlength=examples)).max() > 1:
        raise UserError(f"{path}: '{INDEX}' has example {counts.argmax()} twice")


def changes_of(task: Task, source: Source, protocol: str | None) -> tuple[str, ...]:
    """The parameters of a task's data that are not those of the protocol, or its defaults: sorted bindings."""
    _, usual = task_and_source(task.name, protocol, ())
    before = fields_of(usual)
    return tuple(
        f"{task.name}.{key} = {value!r}" for key, value in sorted(fields_of(source).items()) if value != before[key]
    )


def enter(task: Task, source: Source, protocol: str | None, data: Prepared, predictions: Path, about: Path) -> External:
    """The result of some predictions. The arena computes all scores.

    Args:
      protocol: the protocol whose data it is; None for the task's defaults.
      predictions: a .npz file with `seeds` [seeds], `predictions` [seeds, examples], or [seeds, examples, length] where
        tokens have labels, `labels` as the program saw them, and perhaps `index`, the place of each row in the test
        split.
      about: a TOML file with the fields of `About`.

    Raises:
      UsageError: a file is not there.
      UserError: a file cannot be read, or is of something else; the message names the place.
    """
    declared, test = about_of(about), data.splits["test"]
    labels = np.asarray(test.labels)
    labelled, seeds = labels >= 0, []
    for seed, answers in sorted(answers_of(predictions, test, task.num_classes).items()):
        right = answers[labelled] == labels[labelled]
        levels = by_level(source, test, answers)
        share = int(right.sum()) / right.size
        seeds.append(ExternalSeed(seed=seed, accuracy=share, by_level=levels, predictions=pack(answers)))
    info = task_info(task, source, data)
    result = External(
        schema=SCHEMA, kind="external", result=hash_of(info, protocol, declared.name, seeds), task=info,
        protocol=protocol, changes=changes_of(task, source, protocol), about=declared, seeds=tuple(seeds),
        entered_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )  # fmt: skip
    if problem := next(contradictions(result, {task.name: task.num_classes}), None):
        raise UserError(f"{predictions}: {problem}")
    return result


def keep(result: External, folder: Path) -> tuple[Path, str]:
    """Writes a result to its file, over an earlier one of the same answers; returns the file and what was done.

    Raises:
      UserError: it cannot be written.
    """
    path = folder / file_name(result)
    try:
        earlier = read(path, {})
    except UserError:  # there is none, or none that counts
        earlier = None
    if earlier and replace(earlier, entered_at=result.entered_at) == result:
        return path, "there already:"
    write_atomically(path, msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    before, now = (msgspec.to_builtins(one.about) for one in (earlier or result, result))
    corrected = ", ".join(key for key in now if now[key] != before[key])
    return path, f"{corrected} corrected in" if corrected else "written to"
