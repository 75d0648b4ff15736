"""The record of a run: one immutable JSON file, from which alone every table is made."""

import json
import re
import sys
import types
import typing
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

from lra.errors import UserError
from lra.files import sha256_text, write_atomically
from lra.leaderboard.predictions import Packed

SCHEMA = 2
LABELS = "test.labels.npy"  # the file of a prepared task
MOST_BYTES = 32 << 20  # of a file
# names become names of files and of columns
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
PATTERNS = {
    "record.run": re.compile(r"[0-9a-f]{12}"),
    **dict.fromkeys(("record.task.name", "record.variant.name", "record.protocol.name"), NAME),
}
Status = Literal["ok", "diverged", "failed", "out of memory"]


class Sizes(TypedDict):
    train: int
    validation: int
    test: int


class Floors(TypedDict):
    validation: float | None  # None if there is no such split
    test: float


class TaskInfo(TypedDict):
    name: str
    version: str
    parameters: dict[str, Any]  # of the generator or loader
    data_sha256: str  # of the lines "NAME SHA256" of `files`
    files: dict[str, str] | None  # SHA-256 of each file of the prepared task; None before schema 2
    test_labels: Packed | None  # None before schema 2
    examples: Sizes
    floor: Floors  # accuracy of always giving the training split's most frequent label


class VariantInfo(TypedDict):
    name: str
    version: int
    paper: str
    source_sha256: str | None  # of the imported file; None for the project's own variants
    source: str | None  # that file; None before schema 2


class Protocol(TypedDict):
    name: str
    overrides: list[str]  # gin bindings given by hand, sorted


class Score(TypedDict):
    loss: float  # nats, mean over all examples of the split
    accuracy: float  # share of all examples of the split


class SeedResult(TypedDict):
    seed: int
    status: Literal["ok", "diverged"]
    step: int  # whose parameters were scored, or whose loss was not finite
    validation: Score | None  # None if it diverged or there is no such split
    test: Score | None  # None if it diverged
    predictions: Packed | None  # on the test split; None if it diverged, and before schema 2


class CurveLine(TypedDict):
    step: int
    split: Literal["train", "validation"]
    loss: list[float | None]  # nats, of each seed; None once it has diverged
    accuracy: list[float | None]
    learning_rate: NotRequired[float | None]


class Measured(TypedDict):
    """What differs between two runs of the same: everything else in a record is a function of its plan."""

    steps_per_second: float | None  # all seeds together make one step; without compilation and evaluation
    train_seconds: float
    compile_seconds: float
    memory_bytes: dict[
        str, int
    ]  # "step": arguments and temporaries of the compiled step; "peak": the device's own count
    hardware: dict[str, Any]
    versions: dict[str, str]
    git: dict[str, Any] | None  # commit of this project and whether files differed from it
    finished_at: str  # UTC, ISO 8601


class Record(TypedDict):
    schema: int
    run: str  # hash of all that decides the outcome (`run_of`); the file's name ends with it
    status: Status  # "diverged" if all seeds did
    error: str | None
    task: TaskInfo
    variant: VariantInfo
    protocol: Protocol
    config: str  # operative gin configuration
    config_sha256: str
    parameters: int  # trainable, of one seed
    selection: str  # which step's parameters were scored
    seeds: list[SeedResult]
    curve: list[CurveLine]  # the lines of metrics.jsonl
    measured: Measured


def run_of(record: Any, seeds: Sequence[int]) -> str:
    """The name of a run: twelve digits of the hash of all that decides its outcome.

    Args:
      record: a record, or as much of one: task, variant, protocol and config_sha256.
    """
    task, variant = record["task"], record["variant"]
    identity = [
        task["name"], task["version"], task["data_sha256"], variant["name"], variant["version"],
        variant["source_sha256"], record["protocol"]["name"], record["config_sha256"], list(seeds),
    ]  # fmt: skip
    return sha256_text(json.dumps(identity))[:12]


def file_name(record: Record) -> str:
    return f"{record['task']['name']}.{record['protocol']['name']}.{record['variant']['name']}.{record['run']}.json"


def write(record: Record, folder: Path) -> Path:
    """Writes the record, whole or not at all, and returns its path.

    Raises:
      UserError: it could not be written.
    """
    path = folder / file_name(record)
    write_atomically(path, json.dumps(record, indent=1, allow_nan=False) + "\n")
    return path


def read(path: Path) -> Record:
    """Reads and checks a record; one of an older schema becomes one of this.

    Raises:
      UserError: it is no record, one of a newer schema, or one that contradicts itself; names the file and what
        is wrong.
    """
    from lra.leaderboard.integrity import contradiction

    away = "move it out of the folder, or run it again"
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise UserError(f"{path} has {size >> 20} MiB, a record has at most {MOST_BYTES >> 20}; {away}")
        record = json.loads(path.read_bytes(), parse_constant=not_json)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as a record ({error}); {away}") from error
    schema = record.get("schema") if isinstance(record, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise UserError(f"{path} has schema version {schema}, this lra reads up to {SCHEMA}; take a newer lra")
    if type(schema) is not int or schema < 1:
        raise UserError(f"{path} has schema version {schema!r}, this version of lra reads {SCHEMA}; {away}")
    if problem := (None if schema == SCHEMA else migrate(record)) or misfit(record, Record, "record"):
        raise UserError(f"{path}: {problem}; {away}")
    if problem := contradiction(record):
        raise UserError(f"{path}: {problem}; {away}")
    return record


def migrate(record: dict[str, Any]) -> str | None:
    """Makes a record of schema 1 one of schema 2, which also has predictions, labels and source; says what it lacks."""
    try:
        record["task"] |= {"files": None, "test_labels": None}
        record["variant"] |= {"source": None}
        for seed in record["seeds"]:
            seed["predictions"] = None
    except (KeyError, TypeError, AttributeError) as error:
        return f"record of schema 1 without its parts ({error})"
    record["schema"] = SCHEMA
    return None


def not_json(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def misfit(value: Any, kind: Any, name: str) -> str | None:
    """Where a value does not have the shape of a type of this file; None if it does."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return None
    if typing.is_typeddict(kind):
        if not isinstance(value, dict):
            return f"{name} is not an object"
        if missing := kind.__required_keys__ - value.keys():
            return f"{name} lacks '{min(missing)}'"
        kinds = hints(kind)
        own = ((value[key], kinds[key], f"{name}.{key}") for key in kinds if key in value)
        return next(filter(None, (misfit(*item) for item in own)), None)
    if origin in (typing.Union, types.UnionType):
        problems = [misfit(value, argument, name) for argument in arguments]
        return None if None in problems else problems[0]
    if origin is Literal:
        return None if value in arguments else f"{name} is {value!r}, not one of {', '.join(map(repr, arguments))}"
    if origin in (list, dict):
        if not isinstance(value, origin):
            return f"{name} is not a {'list' if origin is list else 'object'}"
        items = enumerate(value) if origin is list else value.items()
        return next(filter(None, (misfit(item, arguments[-1], f"{name}.{key}") for key, item in items)), None)
    if kind is float:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    elif kind is int:
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif name in PATTERNS:
        fits = isinstance(value, str) and PATTERNS[name].fullmatch(value) is not None
    else:
        fits = isinstance(value, kind)
    return None if fits else f"{name} is {value!r:.200}, not {getattr(kind, '__name__', kind)}"


@cache
def hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)
