"""Retrieval: does one paper cite the other? Pairs from the ACL Anthology Network (Radev et al. 2013), as bytes.

The pairs and the splits are LRA's own. There is no generator, and no other source has the same pairs.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lra.errors import UserError
from lra.tasks.publisher import find, inside
from lra.tasks.task import SPLITS, Blocks, Sized, Split, Task, Warn
from lra.tasks.text import BYTES, pad, show
from lra.workers import in_order

PUBLISHED = "storage.googleapis.com/long-range-arena/lra_release.gz, folder lra_release/lra_release/tsv_data"
FILES = dict(zip(SPLITS, ("train", "eval", "test")))
LABELS = {b"0": 0, b"0.0": 0, b"1": 1, b"1.0": 1}
BLOCK = 200
LONGEST_LINE = 1 << 26  # bytes; a file without line ends is no reason to fill the memory


@dataclass(frozen=True)
class Retrieval(Sized):
    """LRA's pairs of AAN papers.

    Attributes:
      max_length: bytes of each document; longer ones are cut. The default is LRA's.
      train: pairs of the training split. The default sizes are those of LRA's files.
      validation: pairs of the validation split.
      test: pairs of the test split.
    """

    max_length: int = 4000
    train: int = 147_086
    validation: int = 18_090
    test: int = 17_437

    @property
    def files(self) -> str:
        return inside(r"new_aan_pairs\.(train|eval|test)\.tsv")

    def generate(self, workers: int = 1) -> Blocks:
        raise UserError(
            f"the AAN pairs can be neither generated nor downloaded: fetch new_aan_pairs.{{train,eval,test}}.tsv from "
            f"{PUBLISHED}, and run the same command with --from FOLDER"
        )

    def read(self, folder: Path, workers: int, warn: Warn) -> Blocks:
        """LRA's `new_aan_pairs.{train,eval,test}.tsv`: label, two ids, two texts."""
        empty = 0
        for split, stem in FILES.items():
            path = find(folder, f"tsv_data/new_aan_pairs.{stem}.tsv", PUBLISHED)
            count = 0
            blocks: Iterator[Split] = in_order(
                partial(parse_lines, self.max_length, path), numbered_lines(path), workers
            )
            for block in blocks:
                count += len(block)
                empty += int((block.lengths == 0).any(1).sum())
                yield split, block
            if count != self.sizes[split]:
                raise UserError(
                    f"{path} has {count:,} rows, {self.sizes[split]:,} were expected: fetch the file again, "
                    f"or say --gin 'retrieval.{split} = {count}' if it is meant to be so"
                )
        if empty:
            warn(f"{empty} pairs have a document without text")


def numbered_lines(path: Path) -> Iterator[list[tuple[int, bytes]]]:
    """The lines of a file in blocks, each line with its number, from 1 on."""
    try:
        file = open(path, "rb")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    with file:
        numbered = enumerate(iter(partial(file.readline, LONGEST_LINE), b""), start=1)
        while lines := list(itertools.islice(numbered, BLOCK)):
            yield lines


def parse_lines(max_length: int, path: Path, lines: list[tuple[int, bytes]]) -> Split:
    """The pairs in a block of lines.

    Raises:
      UserError: a line is malformed. The message names the file and the line, and says what is wrong.
    """
    labels, pairs = [], []
    for number, line in lines:
        try:
            label, *pair = parse_row(line)
        except ValueError as error:
            raise UserError(
                f"{path}, line {number}: {error}; the file is damaged or not LRA's, fetch it again"
            ) from error
        labels.append(label)
        pairs += pair
    inputs, lengths = pad(pairs, max_length)
    return Split(inputs.reshape(-1, 2, max_length), lengths.reshape(-1, 2), np.array(labels, np.int32))


def parse_row(line: bytes) -> tuple[int, bytes, bytes]:
    """The label and the two texts of a line "1.0<TAB>id<TAB>id<TAB>text<TAB>text"."""
    columns = line.rstrip(b"\r\n").split(b"\t")
    if len(columns) != 5:
        raise ValueError(f"{len(columns)} columns instead of 5")
    if columns[0] not in LABELS:
        raise ValueError(f"the label {columns[0][:20]!r} is neither 0.0 nor 1.0")
    try:
        line.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    return LABELS[columns[0]], columns[3], columns[4]


RETRIEVAL = Task(
    name="retrieval",
    version="1.0.0",
    summary="does one paper cite the other? ACL Anthology Network, two documents of bytes",
    source=Retrieval,
    classes=("not linked", "linked"),
    vocab_size=BYTES,
    citation="Radev et al. 2013 (the ACL Anthology Network corpus); Tay et al. 2021 (arXiv 2011.04006)",
    licence="that of the ACL Anthology Network; not distributed here",
    show=show,
    origin="no generator",
    published=PUBLISHED,
    documents=2,
)
