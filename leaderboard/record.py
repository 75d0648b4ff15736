"""The record of a run: one immutable JSON file, from which alone every table is made."""

import json
import re
import sys
import types
import typing
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from lra.errors import UserError
from lra.files import sha256_text, write_atomically
from lra.leaderboard.predictions import Packed

SCHEMA = 2
LABELS = "test.labels.npy"  # the file of a prepared task
MOST_BYTES = 32 << 20  # of a file
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
# names become names of files and of columns
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
Name = Annotated[str, NAME]
Run = Annotated[str, re.compile(r"[0-9a-f]{12}")]
AWAY = "move it out of the folder, or run it again"
Status = Literal["ok", "diverged", "failed", "out of memory"]


class Sizes(TypedDict):
    train: int
    validation: int
    test: int


class Floors(TypedDict):
    validation: float | None  # None if there is no such split
    test: float


class TaskInfo(TypedDict):
    name: Name
    version: str
    parameters: dict[str, Any]  # of the generator or loader
    data_sha256: str  # of the lines "NAME SHA256" of `files`
    files: dict[str, str] | None  # SHA-256 of each file of the prepared task; None before schema 2
    test_labels: Packed | None  # None before schema 2
    examples: Sizes
    floor: Floors  # accuracy of always giving the training split's most frequent label


class VariantInfo(TypedDict):
    name: Name
    version: int
    paper: str
    source_sha256: str | None  # of the imported file; None for the project's own variants
    source: str | None  # that file; None before schema 2


class Protocol(TypedDict):
    name: Name
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
    run: Run  # hash of all that decides the outcome (`run_of`); the file's name ends with it
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

    record = parse(path)
    if problem := contradiction(record):
        raise UserError(f"{path}: {problem}; {AWAY}")
    return record


def parse(path: Path) -> Record:
    """Reads a record of which only the shape is checked; what it says may contradict itself.

    Raises:
      UserError: it is no record, or one of a newer schema.
    """
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise UserError(f"{path} has {size >> 20} MiB, a record has at most {MOST_BYTES >> 20}; {AWAY}")
        text = path.read_bytes().decode()
        record = json.loads(text, parse_constant=not_json)
        if SURROGATE.search(text):
            json.dumps(record, ensure_ascii=False).encode()  # a ValueError if it is half a character
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as a record ({error}); {AWAY}") from error
    schema = record.get("schema") if isinstance(record, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise UserError(f"{path} has schema version {schema}, this lra reads up to {SCHEMA}; take a newer lra")
    if type(schema) is not int or schema < 1:
        raise UserError(f"{path} has schema version {schema!r}, this version of lra reads {SCHEMA}; {AWAY}")
    if problem := (None if schema == SCHEMA else migrate(record)) or misfit(record, Record, "record"):
        raise UserError(f"{path}: {problem}; {AWAY}")
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
    """Where a value does not have the shape of a type of this file, said of `name`; None if it does."""
    problem = checker(kind)(value)
    return None if problem is None else name + problem


@cache
def checker(kind: Any) -> Callable[[Any], str | None]:
    """What finds a value that is not of a type: gives the place in it, and what is wrong there."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return lambda value: None
    if typing.is_typeddict(kind):
        return object_checker(kind)
    if origin is NotRequired:
        return checker(arguments[0])
    if origin in (typing.Union, types.UnionType):
        checks = [checker(argument) for argument in arguments]

        def any_of(value: Any) -> str | None:
            problems = [check(value) for check in checks]
            return None if None in problems else problems[0]

        return any_of
    if origin in (list, dict):
        return container_checker(origin, checker(arguments[-1]))
    if origin is Literal:
        one_of = ", ".join(map(repr, arguments))
        return lambda value: None if value in arguments else f" is {value!r:.200}, not one of {one_of}"
    if origin is Annotated:
        base, pattern = arguments
        fits = lambda value: isinstance(value, base) and pattern.fullmatch(value) is not None
        name = "a name of letters, digits, '.', '_' and '-'" if pattern is NAME else f"like {pattern.pattern}"
    elif kind is float:
        fits = lambda value: type(value) in (int, float) and abs(value) <= sys.float_info.max
        name = "float"
    elif kind is int:
        fits = lambda value: type(value) is int and abs(value) < 1 << 63  # what floats and other languages can hold
        name = "int of 64 bits"
    else:
        fits = lambda value: isinstance(value, kind)
        name = kind.__name__
    return lambda value: None if fits(value) else f" is {value!r:.200}, not {name}"


def object_checker(kind: Any) -> Callable[[Any], str | None]:
    required = kind.__required_keys__
    checks = {key: checker(hint) for key, hint in typing.get_type_hints(kind, include_extras=True).items()}

    def check(value: Any) -> str | None:
        if not isinstance(value, dict):
            return " is not an object"
        if missing := required - value.keys():
            return f" lacks '{min(missing)}'"
        for key, inner in checks.items():
            if key in value and (problem := inner(value[key])) is not None:
                return f".{key}{problem}"
        return None

    return check


def container_checker(kind: Any, inner: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if not isinstance(value, kind):
            return f" is not {'a list' if kind is list else 'an object'}"
        for key, item in enumerate(value) if kind is list else value.items():
            if (problem := inner(item)) is not None:
                return f".{key}{problem}"
        return None

    return check
