"""The record of a run: one immutable JSON file. Every table is made from records alone."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from lra.files import create, sha256_text, write_atomically
from lra.leaderboard.predictions import Packed
from lra.leaderboard.strict import Number, Part, WholeNumber

SCHEMA = 7
ENVIRONMENT = "environment"  # the section of a configuration with the settings from outside
LABELS = "test.labels.npy"  # the file of a prepared task that holds the test labels
BINS = "test.bins.npy"  # the file that holds the difficulty of each
SELECTIONS = {
    "last": "last step",
    "best": "best validation accuracy",
}  # by the value of `train.select`: the words in a record
# Names are used in file names. Records before schema 4 may have more of them than `lra.names` admits.
# "$" alone would admit a line break after the name, hence the lookahead.
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$(?!\n)")]
Run = Annotated[str, Meta(pattern=r"^[0-9a-f]{12}$(?!\n)")]
Status = Literal["ok", "diverged", "failed", "out of memory"]


class Sizes(Part, frozen=True, kw_only=True):
    """The number of examples of each split."""

    train: WholeNumber
    validation: WholeNumber
    test: WholeNumber


class Floors(Part, frozen=True, kw_only=True):
    """The accuracy of always giving the training split's most frequent label, on each split."""

    validation: Number | None  # None if there is no such split
    test: Number


class Difficulty(Part, frozen=True, kw_only=True):
    """What makes the labels of a task harder to find."""

    name: str  # what is counted, as "hops"
    levels: tuple[WholeNumber, ...]  # its values, ascending
    trained: tuple[bool, ...]  # whether the training split has labels of each level
    floor: tuple[Number, ...]  # the accuracy on each of the best guess without what the task asks for
    test_bins: Packed  # the place among the levels of each test label


class TaskInfo(Part, frozen=True, kw_only=True):
    """What a run was trained and tested on."""

    name: Name
    version: str
    parameters: dict[str, Any]  # the parameters of the generator or reader
    data_sha256: str  # the hash of the lines "NAME SHA256" of `files`
    files: dict[str, str] | None  # SHA-256 of each file of the prepared task; None before schema 2
    test_labels: Packed | None  # None before schema 2
    examples: Sizes
    floor: Floors
    unlearnt: Number | None  # the accuracy that an unlearnt seed counts in averages; None: its own accuracy
    stands_in_for: Name | None  # the task that this synthetic task replaces
    difficulty: Difficulty | None  # None for a task that does not tell, and before schema 7


class Checks(Part, frozen=True, kw_only=True):
    """What `lra check` found of a variant from outside, under the options of the run, when its run was handed in."""

    lra: str  # the version of lra that checked it
    holds: tuple[str, ...]  # the names of the checks that hold or do not apply
    fails: dict[str, str]  # by name, what was found
    excepted: dict[str, str]  # by name, the reason that the variant declares
    not_run: dict[str, str]  # by name, why not


class VariantInfo(Part, frozen=True, kw_only=True):
    """Which attention was trained."""

    name: Name
    version: WholeNumber
    paper: str
    source_sha256: str | None  # the hash of `sources`; None for the project's own variants
    # the texts of all its modules by their paths below one folder, the one that registers it first; None for own
    # variants and before schema 2
    sources: dict[str, str] | None
    checks: Checks | None  # None for own variants, before a run is handed in, and before schema 5


class Protocol(Part, frozen=True, kw_only=True):
    """Which protocol the run followed."""

    name: Name
    overrides: tuple[str, ...]  # gin bindings given by hand, sorted


class Score(Part, frozen=True, kw_only=True):
    """Loss and accuracy on all examples of a split."""

    loss: Number  # nats, mean
    accuracy: Number  # share


class SeedResult(Part, frozen=True, kw_only=True):
    """The result of one seed."""

    seed: WholeNumber
    status: Literal["ok", "diverged"]
    step: WholeNumber  # the step whose parameters were scored, or whose loss was not finite
    validation: Score | None  # None if it diverged or there is no such split
    test: Score | None  # None if it diverged
    predictions: Packed | None  # on the test split; None if it diverged, and before schema 2
    # the accuracy on each level of difficulty; None if it diverged, for a task that does not tell, before schema 7
    by_level: tuple[Number | None, ...] | None


class CurveLine(Part, frozen=True, kw_only=True):
    """A line of metrics.jsonl."""

    step: WholeNumber
    split: Literal["train", "validation"]
    loss: tuple[Number | None, ...]  # nats, of each seed; None once it has diverged
    accuracy: tuple[Number | None, ...]
    learning_rate: Number | UnsetType | None = UNSET  # only of split train


class KernelUse(Part, frozen=True, kw_only=True):
    """The implementation that a call of an op got in the train step."""

    call: str  # the op, with types and shapes of its operands
    key: str  # a hash of all that is known of the call
    implementation: str  # one of `lra.models.kernels.backends.NAMES`
    why: str


class Measurements(Part, frozen=True, kw_only=True):
    """What may differ between two runs of one plan. Everything else in a record is a function of the plan."""

    steps_per_second: Number | None  # one step trains all seeds; without compilation and evaluation
    train_seconds: Number
    compile_seconds: Number
    memory_bytes: dict[
        str, WholeNumber
    ]  # "step": arguments and temporaries of a train step; "peak": as the device counts
    kernels: tuple[KernelUse, ...] | None  # None before schema 6; scoring is in XLA
    hardware: dict[str, Any]
    versions: dict[str, str]
    git: dict[str, Any] | None  # the commit of this project, and whether files differed from it
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
    config: str  # every value that decides the outcome, one binding a line
    config_sha256: str
    parameters: WholeNumber  # the parameter count of one seed
    parameter_tree_sha256: str | None  # names, shapes and types in the train state; None before schema 3
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
    """All that decided the outcome of a record's run."""
    task, variant = record.task, record.variant
    return Identity(
        task.name, task.version, task.data_sha256, variant.name, variant.version, variant.source_sha256,
        record.protocol.name, record.config_sha256, tuple(seed.seed for seed in record.seeds),
    )  # fmt: skip


def run_of(record: Record) -> str:
    """The name of a record's run, computed from its contents."""
    return identity_of(record).run


def file_name(record: Record) -> str:
    """The name of a record's file."""
    return f"{record.task.name}.{record.protocol.name}.{record.variant.name}.{record.run}.json"


def as_json(part: Part) -> Any:
    """A record, or a part of a record, as plain dicts, tuples, texts and numbers, in the order of its fields."""
    return msgspec.to_builtins(part)


def write(record: Record, folder: Path) -> Path:
    """Writes a record atomically and returns its path.

    Raises:
      UserError: the file could not be written.
      ValueError: a number is NaN or infinite.
    """
    path = folder / file_name(record)
    write_atomically(path, text_of(record))
    return path


def write_first(record: Record, folder: Path) -> bool:
    """Writes a record if there is none of its run. Returns False if there is one; errors as of `write`."""
    return create(folder / file_name(record), text_of(record))


def text_of(record: Record) -> str:
    """The file of a record."""
    return json.dumps(as_json(record), indent=1, allow_nan=False) + "\n"


def json_schema() -> str:
    """The JSON Schema of a record, as in docs/record.schema.json."""
    return json.dumps(msgspec.json.schema(Record), indent=1) + "\n"
