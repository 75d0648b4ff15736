"""Results from elsewhere: the answers of a model that another program trained, to a whole test split of the arena.

We score the answers. All else is as its authors declare it, so these results have tables of their own and are never
ranked with records.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from lra.errors import UserError
from lra.files import sha256_text, visible
from lra.leaderboard.integrity import SEEDS, contradictions_of_answers, contradictions_of_task
from lra.leaderboard.predictions import Packed
from lra.leaderboard.record import Name, Run, TaskInfo
from lra.leaderboard.strict import Number, Part, WholeNumber, decode, shaped

SCHEMA = 1
PREFIX = "external-"  # of the names of their files, which may lie among records
MOST_BYTES = 32 << 20
Words = Annotated[str, Meta(min_length=1, max_length=300)]


class About(Part, frozen=True, kw_only=True):
    """What the authors declare of a result. Nothing of it is checked."""

    name: Name  # of the row
    parameters: Annotated[int, Meta(ge=1, le=2**63 - 1)]  # the parameter count of one seed
    paper: Words
    source: Words  # where its code is
    selection: Words  # which step was scored, and how it was selected
    framework: Words  # with its version
    note: Annotated[str, Meta(max_length=300)] = ""


class ExternalSeed(Part, frozen=True, kw_only=True):
    """The answers of one seed."""

    seed: WholeNumber
    accuracy: Number  # share of all test labels
    by_level: tuple[Number | None, ...] | None  # None for a task without difficulty
    predictions: Packed


class External(Part, frozen=True, kw_only=True):
    """A result from elsewhere."""

    schema: WholeNumber
    kind: Literal["external"]
    result: Run  # hash of all that follows but the date
    task: TaskInfo
    protocol: Name | None  # whose data it is; None for the task's defaults
    about: About
    seeds: tuple[ExternalSeed, ...]
    entered_at: str  # UTC, ISO 8601


def hash_of(task: TaskInfo, protocol: str | None, about: About, seeds: Iterable[ExternalSeed]) -> str:
    """The name of a result: twelve digits of a hash of its task, what is declared, and its answers."""
    told = [task.name, task.version, task.data_sha256, protocol, msgspec.to_builtins(about)]
    return sha256_text(json.dumps([*told, [(seed.seed, seed.predictions.sha256) for seed in seeds]]))[:12]


def file_name(result: External) -> str:
    protocol = [] if result.protocol is None else [result.protocol]
    return PREFIX + ".".join([result.task.name, *protocol, result.about.name, result.result, "json"])


def contradictions(result: External) -> Iterator[str]:
    """All contradictions in a result, in words; its scores are computed again.

    Raises:
      UserError: labels or predictions cannot be unpacked.
    """
    task, numbers = result.task, [seed.seed for seed in result.seeds]
    if not 0 < len(numbers) <= SEEDS:
        yield f"it has {len(numbers):,} seeds, not 1 to {SEEDS:,}"
    if len(set(numbers)) < len(numbers):
        yield "a seed is in it twice"
    if hash_of(task, result.protocol, result.about, result.seeds) != result.result:
        yield "result is not the hash of what it says"
    if task.files is None or task.test_labels is None:
        yield "it lacks the files or the test labels of its task"
        return
    found = [*contradictions_of_task(task)]
    yield from found
    for seed in () if found else result.seeds:
        if (seed.by_level is None) != (task.difficulty is None):
            yield f"seed {seed.seed} has by_level, or not, where its task says otherwise"
        yield from contradictions_of_answers(task, seed.seed, seed.accuracy, seed.by_level, seed.predictions)


def read(path: Path) -> External:
    """Reads and checks a result.

    Raises:
      UserError: the file is none, or contradicts itself; the message names the file and the problem.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"it has more than {MOST_BYTES >> 20} MiB")
        content = decode(path.read_bytes())
        schema = content.get("schema") if isinstance(content, dict) else None
        if isinstance(schema, int) and schema > SCHEMA:
            raise UserError(f"its schema is {schema}, this lra reads up to {SCHEMA}; take a newer lra")
        result = shaped(content, External, "result")
        if problem := next(contradictions(result), None):
            raise UserError(problem)
    except (OSError, ValueError, RecursionError, UserError) as error:
        raise UserError(f"{path} is no result of 'lra leaderboard enter' ({error}); move it away") from error
    return result


def find(folders: Iterable[Path]) -> tuple[list[External], list[str]]:
    """The results in some folders, each once, sorted by task, accuracy and name.

    Returns:
      the results, and a line for each file that is none.
    """
    found, left_out = {}, []
    for folder in folders:
        for path in visible(folder.glob(f"{PREFIX}*.json")):
            try:
                result = read(path)
            except UserError as error:
                left_out.append(str(error))
            else:
                found[result.result] = result
    order = lambda one: (
        one.task.name,
        one.protocol or "",
        one.task.data_sha256,
        -mean(one),
        one.about.name,
        one.result,
    )
    return sorted(found.values(), key=order), left_out


def mean(result: External) -> float:
    """The mean accuracy over seeds, as a share."""
    return sum(seed.accuracy for seed in result.seeds) / len(result.seeds)
