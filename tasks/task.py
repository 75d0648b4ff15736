"""What a task is: metadata, the parameters of its data, and where its examples come from."""

import dataclasses
import hashlib
import importlib.util
import json
import re
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Int, Int32, UInt8

from lra.errors import UsageError
from lra.names import RULE, is_name
from lra.typed import typed, wrong

SPLITS = ("train", "validation", "test")
VERSION = re.compile(r"\d+(\.\d+)*", re.ASCII)
MOST_CLASSES = 255  # and levels of difficulty: a record has a byte for each, and 255 says that there is none


@dataclasses.dataclass(frozen=True)
class Split:
    """Examples of one split, or a block of them, right-padded with zeros.

    An example is one sequence or, where a task compares documents, several side by side. Only `lengths` says what is
    padding: a token of value 0 inside a sequence is a token.

    An example has one label, or one for each token, -1 where there is none. `bins` has the difficulty of each label, as
    its place among the levels of `Difficulty`, where the task has any.

    These are the types of what is prepared. A task may yield any whole numbers of such values.
    """

    inputs: UInt8[np.ndarray, "examples *documents max_length"]
    lengths: Int32[np.ndarray, "examples *documents"]
    labels: Int32[np.ndarray, "examples *max_length"]
    bins: UInt8[np.ndarray, "examples *max_length"] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice | Int[np.ndarray, " rows"]) -> "Split":
        bins = None if self.bins is None else self.bins[rows]
        return Split(self.inputs[rows], self.lengths[rows], self.labels[rows], bins)

    def cut(self, length: int | None) -> "Split":
        """The examples without the padding beyond so many tokens, and without bins."""
        labels = self.labels[..., :length] if self.labels.ndim == self.inputs.ndim else self.labels
        return Split(self.inputs[..., :length], self.lengths, labels)


@dataclasses.dataclass(frozen=True)
class Difficulty:
    """What makes the labels of a task harder to find.

    Attributes:
      name: what is counted, in words, as "hops".
      levels: its values, ascending.
      trained: whether the training split has labels of each level.
      floor: the accuracy on each level of the best guess without what the task asks for.
    """

    name: str
    levels: tuple[int, ...]
    trained: tuple[bool, ...]
    floor: tuple[float, ...]

    def __post_init__(self) -> None:
        """Raises UsageError if the levels cannot be told apart, or if not each has its `trained` and its `floor`."""
        check_types(self, "difficulty")
        count = len(self.levels)
        if not self.name or not 0 < count < MOST_CLASSES or [*self.levels] != sorted({*self.levels}):
            raise UsageError(
                f"difficulty {self.name!r}: levels = {self.levels} are not 1 to {MOST_CLASSES - 1} numbers, ascending"
            )
        if not len(self.trained) == len(self.floor) == count:
            raise UsageError(
                f"difficulty {self.name!r} has {count} levels, and trained for {len(self.trained)} and floor for "
                f"{len(self.floor)} of them"
            )
        if not all(0 <= share <= 1 for share in self.floor):
            raise UsageError(f"difficulty {self.name!r}: floor = {self.floor} are not shares from 0 to 1")


Blocks = Iterator[tuple[str, Split]]  # of examples in their final order, each with the name of its split
Warn = Callable[[str], None]


class Source(Protocol):
    """The parameters of a task's data. Two equal sources have the same examples, on every computer.

    A source is a frozen dataclass whose fields are plain numbers and texts: the manifest of a prepared task holds them.
    """

    @property
    def max_length(self) -> int:
        """Tokens in the longest sequence possible."""
        ...

    @property
    def sizes(self) -> dict[str, int]:
        """Examples in each split. It is 0 for a validation split that the parameters leave out."""
        ...

    @property
    def difficulty(self) -> Difficulty | None:
        """What makes labels harder to find; None if the task does not tell."""
        ...

    @property
    def files(self) -> str:
        """A regular expression that finds the paths of the publisher's files inside an archive."""
        ...

    def generate(self, workers: int) -> Blocks:
        """The examples without files of the user: generated, or as TFDS downloads them.

        Raises:
          UserError: they cannot be had that way. The message says which file to fetch and from where.
        """
        ...

    def read(self, folder: Path, workers: int, warn: Warn) -> Blocks:
        """The examples from the publisher's files.

        Args:
          warn: is told about known defects of the publisher's own files, with a count.

        Raises:
          UserError: a file is missing or malformed. The message names it and the place in it.
        """
        ...


class Sized:
    """What sources share: their fields `train`, `validation` and `test` are the numbers of examples."""

    train: int
    validation: int
    test: int

    @property
    def difficulty(self) -> Difficulty | None:
        """What makes labels harder to find; None if the task does not tell."""
        return None

    def __post_init__(self) -> None:
        """Raises ValueError if a size is not a whole number, or if a split other than validation is empty."""
        for name, least in (("max_length", 1), ("train", 1), ("validation", 0), ("test", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} = {value!r} is not a whole number of at least {least}")

    @property
    def sizes(self) -> dict[str, int]:
        return {split: getattr(self, split) for split in SPLITS}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a task from outside is registered.

    Attributes:
      sha256: the hash of the file, and of what lies beside it and is imported with it, without the task's recipes.
    """

    file: str
    line: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


@dataclasses.dataclass(frozen=True)
class Task:
    """Metadata of a task. The name and the version together fix its examples.

    Attributes:
      version: digits with dots, as "1.0.0".
      source: the class of the data's parameters; a section of the configuration, so that a protocol can change them.
      classes: the names of the labels 0, 1, ..., at most 255.
      vocab_size: rows of the token embedding. A token is a byte; LRA gives its texts a row more.
      show: gives the tokens of one document as a person reads them.
      origin: where examples come from unless the user has files: "generated", or the name of the data set in TFDS.
      published: where the publisher's files are.
      data_sha256: the hash of the examples under the default parameters, by which other examples are detected. It is
        None if we have never seen the publisher's files. For a task that is generated, the publisher's files hold other
        examples of the same law, which are accepted.
      documents: the number of sequences in an example.
      picture: whether the tokens are the grey levels of a square image.
      per_token: whether each token may have a label of its own.
      unlearnt: the accuracy that a seed which learnt nothing counts in averages and ranks; None: what it scored.
      stands_in_for: the task in whose place a synthetic one is run; None for a task of its own.
      recipes: gin bindings by the name of a protocol, over those of the protocol's own file. Only a task from outside
        has them; the arena's have files.
      place: where it is registered, which `register_task` fills in; None for a task of the arena.
    """

    name: str
    version: str
    summary: str
    source: Callable[..., Source]
    classes: tuple[str, ...]
    vocab_size: int
    citation: str
    licence: str
    show: Callable[[Int[np.ndarray, " length"]], str]
    origin: str = "generated"
    published: str = ""
    data_sha256: str | None = None
    documents: int = 1
    picture: bool = False
    per_token: bool = False
    unlearnt: float | None = None
    stands_in_for: str | None = None
    recipes: dict[str, str] = dataclasses.field(default_factory=dict, hash=False)
    place: Place | None = None

    def __post_init__(self) -> None:
        """Raises UsageError if a value is of another type than its annotation, or not what the class says of it."""
        if not is_name(self.name):
            raise UsageError(f"{self.name!r} is no name for a task; {RULE}")
        check_types(self, f"task '{self.name}'")
        count, different = len(self.classes), len({*self.classes})
        rules = (
            (VERSION.fullmatch(self.version), f"version = {self.version!r} is not digits with dots, as '1.0.0'"),
            (self.vocab_size >= 1, f"vocab_size = {self.vocab_size} is not at least 1"),
            (2 <= count <= MOST_CLASSES, f"it has {count} classes, not 2 to {MOST_CLASSES}"),
            (different == count, f"two of its classes have one name: {self.classes}"),
            (self.documents in (1, 2), f"documents = {self.documents} is not 1 or 2"),
            (not self.per_token or self.documents == 1, "a task of two documents has no labels of single tokens"),
            (callable(self.show), f"show = {self.show!r} is no function from tokens to a text"),
        )
        for holds, fault in rules:
            if not holds:
                raise UsageError(f"task '{self.name}': {fault}")

    @property
    def needs_files(self) -> bool:
        """Whether the examples come from the publisher's files alone, as far as is installed here."""
        tfds = self.origin.startswith("TFDS") and importlib.util.find_spec("tensorflow_datasets") is not None
        return self.origin != "generated" and not tfds

    @property
    def archive(self) -> str:
        """The name of the publisher's archive."""
        return next(iter(re.findall(r"[\w.-]+\.gz", self.published)), "FILE")

    @property
    def num_classes(self) -> int:
        return len(self.classes)


def check_types(value: Any, who: str) -> None:
    """Compares the fields of a dataclass with their annotations.

    Raises:
      UsageError: one has another type; the message begins with `who`.
    """
    for name, hint in typing.get_type_hints(type(value)).items():
        held = getattr(value, name)
        try:
            if typed(held, hint) != held:  # a list in place of a tuple
                raise wrong(held, hint)
        except ValueError as error:
            raise UsageError(f"{who}: {name}: {error}") from error


def fields_of(source: Source) -> dict[str, Any]:
    """The parameters of a source in the form that a manifest has: JSON has lists for tuples."""
    fields = dataclasses.asdict(source)  # type: ignore[call-overload]
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def is_default(source: Source) -> bool:
    """Whether all parameters are the defaults of the source's class."""
    return all(
        getattr(source, field.name) == field.default
        for field in dataclasses.fields(source)  # type: ignore[arg-type]
    )


def folder_name(task: Task, source: Source) -> str:
    """`NAME-VERSION` for the default parameters. For others, eight digits of their hash follow."""
    name = f"{task.name}-{task.version}"
    if is_default(source):
        return name
    return f"{name}-{hashlib.sha256(json.dumps(fields_of(source), sort_keys=True).encode()).hexdigest()[:8]}"
