"""Results from elsewhere: the answers of a model that another program trained, to a whole test split of the arena.

We score the answers. All else is as its authors declare it, so these results have tables of their own and are never
ranked with records.
"""

import datetime
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np

from lra.errors import UserError
from lra.files import sha256_text, visible
from lra.leaderboard.integrity import (
    SEEDS,
    contradictions_of_answers,
    contradictions_of_floor,
    contradictions_of_task,
)
from lra.leaderboard.predictions import NONE, Packed, unpack
from lra.leaderboard.record import Name, Run, TaskInfo
from lra.leaderboard.strict import Number, Part, WholeNumber, decode, shaped

SCHEMA: Final = 1
PREFIX = "external-"  # of the names of their files, which may lie among records
MOST_BYTES = 32 << 20
MOST_PARAMETERS = 2**63 - 1
SYSTEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")  # it is part of a file name
LONGEST = 300  # characters of a declared text


class About(Part, frozen=True, kw_only=True):
    """What the authors declare of a result. `faults_of_about` holds the form of it; the content is not checked."""

    name: str  # of the row
    parameters: int  # the parameter count of one seed
    paper: str
    source: str  # where its code is
    selection: str  # which step was scored, and how it was selected
    framework: str  # with its version
    note: str = ""


class ExternalSeed(Part, frozen=True, kw_only=True):
    """The answers of one seed."""

    seed: WholeNumber
    accuracy: Number  # share of all test labels
    by_level: tuple[Number | None, ...] | None  # None for a task without difficulty
    predictions: Packed


class External(Part, frozen=True, kw_only=True):
    """A result from elsewhere."""

    schema: Literal[1]
    kind: Literal["external"]
    result: Run  # `hash_of` it; what is declared besides the name is no part of it, so that it can be corrected
    task: TaskInfo
    protocol: Name | None  # whose data it is; None for the task's defaults
    changes: tuple[str, ...] = ()  # the parameters of the data that are not the protocol's: sorted bindings
    about: About
    seeds: tuple[ExternalSeed, ...]
    entered_at: str  # UTC, ISO 8601


def hash_of(task: TaskInfo, protocol: str | None, system: str, seeds: Iterable[ExternalSeed]) -> str:
    """The name of a result: twelve digits of a hash of its task, the system's name, and the answers of its seeds."""
    told = [task.name, task.version, task.data_sha256, protocol, system]
    return sha256_text(json.dumps([*told, sorted((seed.seed, seed.predictions.sha256) for seed in seeds)]))[:12]


def file_name(result: External) -> str:
    protocol = [] if result.protocol is None else [result.protocol]
    return PREFIX + ".".join([result.task.name, *protocol, result.about.name, result.result, "json"])


def is_named(path: Path) -> bool:
    """Whether a file has the name of a result from elsewhere."""
    return path.name.startswith(PREFIX) and path.suffix == ".json"


def faults_of_about(about: Mapping[str, object]) -> Iterator[str]:
    """What is wrong with the form of what is declared, in words."""
    for key, value in about.items():
        if key == "parameters":
            if type(value) is not int or not 1 <= value <= MOST_PARAMETERS:
                yield f"{key} is {value!r:.40}, not a whole number from 1 to 2^63 - 1"
        elif not isinstance(value, str):
            yield f'{key} is {value!r:.40}, not a text; write it as {key} = "..."'
        elif key == "name":
            if not SYSTEM.fullmatch(value):
                yield f"{key} is {value!r:.80}; take at most 64 letters, digits, _, . and -, a letter or digit first"
        elif len(value) > LONGEST:
            yield f"{key} has {len(value):,} characters, not at most {LONGEST}"
        elif wrong := next((char for char in value if not char.isprintable()), None):
            yield f"{key} has the invisible character U+{ord(wrong):04X}; write it as one line without such"
        elif not any(map(str.isalnum, value)) and (value or key != "note"):
            yield f"{key} says nothing; write it in words"


def contradictions(result: External, classes: Mapping[str, int]) -> Iterator[str]:
    """All contradictions in a result, in words; its scores are computed again.

    Args:
      classes: the number of classes of each task that is known.

    Raises:
      UserError: labels or predictions cannot be unpacked.
    """
    task, numbers = result.task, [seed.seed for seed in result.seeds]
    yield from faults_of_about(msgspec.to_builtins(result.about))
    if not is_time(result.entered_at):
        yield f"entered_at is no time: {result.entered_at!r:.40}"
    if not 0 < len(numbers) <= SEEDS:
        yield f"it has {len(numbers):,} seeds, not 1 to {SEEDS:,}"
    if len(set(numbers)) < len(numbers):
        yield "a seed is in it twice"
    if hash_of(task, result.protocol, result.about.name, result.seeds) != result.result:
        yield "result is not the hash of what it says"
    if task.files is None or task.test_labels is None:
        yield "it lacks the files or the test labels of its task"
        return
    found = [*contradictions_of_task(task)] or [*contradictions_of_floor(task)]
    yield from found
    for seed in () if found else result.seeds:
        if (seed.by_level is None) != (task.difficulty is None):
            yield f"seed {seed.seed} has by_level, or not, where its task says otherwise"
        yield from contradictions_of_answers(task, seed.seed, seed.accuracy, seed.by_level, seed.predictions)
    if not found:
        yield from contradictions_of_seeds(result, classes.get(task.name, NONE + 1))


def contradictions_of_seeds(result: External, classes: int) -> Iterator[str]:
    """What is wrong with the answers of all seeds, in words: what is no class, and one model's answers twice.

    Seeds that are all right, or that always give one class, may agree; others do not by chance.
    """
    assert result.task.test_labels is not None
    labelled = unpack(result.task.test_labels, "task.test_labels") != NONE
    first: dict[str, int] = {}
    for seed in result.seeds:
        answers = unpack(seed.predictions, f"the predictions of seed {seed.seed}")
        if answers.size != labelled.size:
            continue
        if (answers := answers[labelled]).max() >= classes:
            yield f"seed {seed.seed} has a prediction that is no class, 0 to {classes - 1}"
        other = first.setdefault(seed.predictions.sha256, seed.seed)
        if other != seed.seed and seed.accuracy != 1 and np.ptp(answers):
            yield (
                f"seeds {other} and {seed.seed} give the same answers to all examples, which two trained models do "
                "not; leave one out, or train it from its own seed"
            )


def is_time(text: str) -> bool:
    """Whether a text is a time with its zone in ISO 8601."""
    try:
        return datetime.datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def read(path: Path, classes: Mapping[str, int]) -> External:
    """Reads and checks a result.

    Args:
      classes: as of `contradictions`.

    Raises:
      UserError: the file is none, has a newer schema, or contradicts itself; the message names the file and the
        problem.
    """
    way_out = "move it away"
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"it has more than {MOST_BYTES >> 20} MiB")
        content = decode(path.read_bytes())
        schema = content.get("schema") if isinstance(content, dict) else None
        if isinstance(schema, int) and schema > SCHEMA:
            way_out = "take a newer lra"
            raise UserError(f"its schema is {schema}, this lra reads up to {SCHEMA}")
        result = shaped(content, External, "result")
        if problem := next(contradictions(result, classes), None):
            raise UserError(problem)
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file; 'lra leaderboard enter' makes them") from error
    except (OSError, ValueError, RecursionError, UserError) as error:
        raise UserError(f"{path} is no result of 'lra leaderboard enter' ({error}); {way_out}") from error
    return result


def files_in(folder: Path) -> list[Path]:
    """The files of the results in a folder, in order."""
    return visible(path for path in folder.glob(f"{PREFIX}*") if is_named(path))


def find(folders: Iterable[Path], classes: Mapping[str, int]) -> tuple[list[External], list[str]]:
    """The results in some folders, by table, accuracy and name. Of several files of one result the newest counts.

    Args:
      classes: as of `contradictions`.

    Returns:
      the results, and a line for each file that is none.
    """
    found: dict[str, External] = {}
    left_out = []
    age = lambda one: (one.entered_at, msgspec.json.encode(one))
    for folder in folders:
        for path in files_in(folder):
            try:
                result = read(path, classes)
            except UserError as error:
                left_out.append(str(error))
            else:
                found[result.result] = max(found.get(result.result, result), result, key=age)
    order = lambda one: (table_of(one), -mean(one), one.about.name, one.result)
    return sorted(found.values(), key=order), left_out


def table_of(result: External) -> tuple[str, str, str, tuple[str, ...], str]:
    """What the rows of one table have in common."""
    task = result.task
    return task.name, task.version, result.protocol or "", result.changes, task.data_sha256


def mean(result: External) -> float:
    """The mean accuracy over seeds, as a share."""
    return sum(seed.accuracy for seed in result.seeds) / len(result.seeds)
