"""The record of a run: one immutable JSON file, from which alone every table is made."""

import json
import sys
from pathlib import Path
from typing import Any, Literal, TypedDict

from lra.errors import UserError
from lra.files import write_atomically

SCHEMA = 1
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
    data_sha256: str
    examples: Sizes
    floor: Floors  # accuracy of always giving the training split's most frequent label


class VariantInfo(TypedDict):
    name: str
    version: int
    paper: str
    source_sha256: str | None  # of the imported file; None for the project's own variants


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
    run: str  # hash of all that decides the outcome; the file's name ends with it
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
    curve: list[dict[str, Any]]  # the lines of metrics.jsonl
    measured: Measured


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
    """Reads and checks a record.

    Raises:
      UserError: it is not a record, or one of another schema version; names the file and what is wrong.
    """
    away = "move it out of the folder, or run it again"
    try:
        record = json.loads(path.read_bytes(), parse_constant=not_json)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as a record ({error}); {away}") from error
    schema = record.get("schema") if isinstance(record, dict) else None
    if schema != SCHEMA:
        raise UserError(f"{path} has schema version {schema!r}, this version of lra reads {SCHEMA}; {away}")
    if problem := misfit(record, Record, "record"):
        raise UserError(f"{path}: {problem}; {away}")
    return record


def not_json(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def misfit(value: Any, kind: Any, name: str) -> str | None:
    """Where a value does not have the shape of a type of this file; None if it does."""
    import types
    import typing

    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return None
    if typing.is_typeddict(kind):
        if not isinstance(value, dict):
            return f"{name} is not an object"
        hints = typing.get_type_hints(kind)
        if missing := hints.keys() - value.keys():
            return f"{name} lacks '{min(missing)}'"
        return next(filter(None, (misfit(value[key], hint, f"{name}.{key}") for key, hint in hints.items())), None)
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
    else:
        fits = isinstance(value, kind)
    return None if fits else f"{name} is {value!r}, not {getattr(kind, '__name__', kind)}"
