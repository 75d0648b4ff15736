"""The record of a run: one immutable JSON file, from which alone every table is made."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from lra.files import sha256_text, write_atomically
from lra.leaderboard.predictions import Packed
from lra.leaderboard.strict import Number, Part, WholeNumber

SCHEMA = 3
LABELS = "test.labels.npy"  # the file of a prepared task
SELECTIONS = {"last": "last step", "best": "best validation accuracy"}  # `train.select`, and its words in a record
# Names become names of files and of columns. "$" alone would take a line break after the name.
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$(?!\n)")]
Run = Annotated[str, Meta(pattern=r"^[0-9a-f]{12}$(?!\n)")]
Status = Literal["ok", "diverged", "failed", "out of memory"]


class Sizes(Part, frozen=True, kw_only=True):
    """Examples of each split."""

    train: WholeNumber
    validation: WholeNumber
    test: WholeNumber


class Floors(Part, frozen=True, kw_only=True):
    """The accuracy of always giving the training split's most frequent label, on each split."""

    validation: Number | None  # None if there is no such split
    test: Number


class TaskInfo(Part, frozen=True, kw_only=True):
    """What a run was trained and tested on."""

    name: Name
    version: str
    parameters: dict[str, Any]  # of the generator or loader
    data_sha256: str  # of the lines "NAME SHA256" of `files`
    files: dict[str, str] | None  # SHA-256 of each file of the prepared task; None before schema 2
    test_labels: Packed | None  # None before schema 2
    examples: Sizes
    floor: Floors
    unlearnt: Number | None  # accuracy that a seed which learnt nothing counts in averages and ranks; None: its own
    stands_in_for: Name | None  # the task in whose place a synthetic one is run


class VariantInfo(Part, frozen=True, kw_only=True):
    """Which attention was trained."""

    name: Name
    version: WholeNumber
    paper: str
    source_sha256: str | None  # of the imported file; None for the project's own variants
    source: str | None  # that file; None before schema 2


class Protocol(Part, frozen=True, kw_only=True):
    """Which recipe it was trained by."""

    name: Name
    overrides: tuple[str, ...]  # gin bindings given by hand, sorted


class Score(Part, frozen=True, kw_only=True):
    """On all examples of a split."""

    loss: Number  # nats, mean
    accuracy: Number  # share


class SeedResult(Part, frozen=True, kw_only=True):
    """What came of one seed."""

    seed: WholeNumber
    status: Literal["ok", "diverged"]
    step: WholeNumber  # whose parameters were scored, or whose loss was not finite
    validation: Score | None  # None if it diverged or there is no such split
    test: Score | None  # None if it diverged
    predictions: Packed | None  # on the test split; None if it diverged, and before schema 2


class CurveLine(Part, frozen=True, kw_only=True):
    """A line of metrics.jsonl."""

    step: WholeNumber
    split: Literal["train", "validation"]
    loss: tuple[Number | None, ...]  # nats, of each seed; None once it has diverged
    accuracy: tuple[Number | None, ...]
    learning_rate: Number | UnsetType | None = UNSET  # only of split train


class Measurements(Part, frozen=True, kw_only=True):
    """What differs between two runs of the same: everything else in a record is a function of its plan."""

    steps_per_second: Number | None  # all seeds together make one step; without compilation and evaluation
    train_seconds: Number
    compile_seconds: Number
    memory_bytes: dict[str, WholeNumber]  # "step": arguments and temporaries of it; "peak": the device's own count
    hardware: dict[str, Any]
    versions: dict[str, str]
    git: dict[str, Any] | None  # commit of this project and whether files differed from it
    finished_at: str  # UTC, ISO 8601


class Record(Part, frozen=True, kw_only=True):
    """All of a run: what decided its outcome, the outcome, and what was measured."""

    schema: WholeNumber
    run: Run  # hash of all that decides the outcome (`run_of`); the file's name ends with it
    status: Status  # "diverged" if all seeds did
    error: str | None
    task: TaskInfo
    variant: VariantInfo
    protocol: Protocol
    config: str  # operative gin configuration
    config_sha256: str
    parameters: WholeNumber  # trainable, of one seed
    parameter_tree_sha256: str | None  # of names, shapes and types of the trained state; None before schema 3
    selection: str  # which step's parameters were scored: a value of SELECTIONS
    seeds: tuple[SeedResult, ...]
    curve: tuple[CurveLine, ...]  # the lines of metrics.jsonl
    measured: Measurements


class Identity(NamedTuple):
    """All that decides the outcome of a run, in the order in which it is hashed."""

    task: str
    task_version: str
    data_sha256: str
    variant: str
    variant_version: int
    source_sha256: str | None
    protocol: str
    config_sha256: str
    seeds: tuple[int, ...]

    @property
    def run(self) -> str:
        """The name of the run: twelve digits of the hash."""
        return sha256_text(json.dumps(self))[:12]


def identity_of(record: Record) -> Identity:
    task, variant = record.task, record.variant
    return Identity(
        task.name, task.version, task.data_sha256, variant.name, variant.version, variant.source_sha256,
        record.protocol.name, record.config_sha256, tuple(seed.seed for seed in record.seeds),
    )  # fmt: skip


def run_of(record: Record) -> str:
    """The name that a record's run must have."""
    return identity_of(record).run


def file_name(record: Record) -> str:
    return f"{record.task.name}.{record.protocol.name}.{record.variant.name}.{record.run}.json"


def as_json(part: Part) -> Any:
    """A record, or a part of one, as plain dicts, tuples, texts and numbers, with its fields in their order."""
    return msgspec.to_builtins(part)


def write(record: Record, folder: Path) -> Path:
    """Writes the record, whole or not at all, and returns its path.

    Raises:
      UserError: it could not be written.
      ValueError: a number is NaN or infinite.
    """
    path = folder / file_name(record)
    write_atomically(path, json.dumps(as_json(record), indent=1, allow_nan=False) + "\n")
    return path


def json_schema() -> str:
    """The JSON Schema of a record, as in docs/record.schema.json."""
    return json.dumps(msgspec.json.schema(Record), indent=1) + "\n"
