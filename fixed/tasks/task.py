"""What a task is: metadata, the parameters of its data, and where its examples come from."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Int, Int32, UInt8

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Split:
    """Examples of one split, or a block of them, right-padded with zeros.

    Only `lengths` says what is padding: a token of value 0 inside a sequence is a token.
    """

    inputs: UInt8[np.ndarray, "examples max_length"]
    lengths: Int32[np.ndarray, " examples"]
    labels: Int32[np.ndarray, " examples"]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice | Int[np.ndarray, " rows"]) -> "Split":
        return Split(self.inputs[rows], self.lengths[rows], self.labels[rows])


class Source(Protocol):
    """The parameters of a task's data; two equal sources have the same examples, on every machine.

    A frozen dataclass whose fields are plain numbers and texts: they are in the manifest of a prepared task.
    """

    @property
    def max_length(self) -> int:
        """Tokens in the longest sequence possible."""
        ...

    @property
    def sizes(self) -> dict[str, int]:
        """Examples in each split."""
        ...

    def generate(self, workers: int) -> Iterator[tuple[str, Split]]:
        """Blocks of examples in their final order, each with the name of its split."""
        ...

    def read(self, folder: Path, workers: int) -> Iterator[tuple[str, Split]]:
        """The same from the files of the task's publisher.

        Raises:
          UserError: a file is missing or malformed; names it and the line.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Task:
    """Metadata of a task; the name and the version together fix what its examples are.

    Attributes:
      source: makes the data's parameters; a gin configurable, so that a protocol can change them.
      vocab_size: rows of the token embedding.
      data_sha256: of the examples under the default parameters, so that a machine that makes others is found out.
    """

    name: str
    version: str
    summary: str
    source: Callable[[], Source]
    num_classes: int
    vocab_size: int
    citation: str
    licence: str
    data_sha256: str
    decode: Callable[[Int[np.ndarray, " length"]], str]


def fields_of(source: Source) -> dict[str, Any]:
    """The parameters of a source, as they stand in a manifest."""
    return dataclasses.asdict(source)  # type: ignore[call-overload]


def folder_name(task: Task, source: Source) -> str:
    """`NAME-VERSION` for the default parameters, with eight digits of their hash for others."""
    name = f"{task.name}-{task.version}"
    fields = fields_of(source)
    defaults = {field.name: field.default for field in dataclasses.fields(source)}  # type: ignore[arg-type]
    if fields == defaults:
        return name
    return f"{name}-{hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:8]}"
