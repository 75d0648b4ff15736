"""Text: is a movie review, read byte by byte, positive? (Maas et al. 2011, "Learning word vectors for sentiment")

The examples of a split are in the order of the SHA-256 of their texts, whether they come from IMDb's files or from
TFDS. The first 2,500 of IMDb's training reviews in that order are the validation split. Equal reviews are next to each
other and so on one side of that cut. 123 reviews are in both of IMDb's halves; the manifest counts them as
`also_in_train`.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from lra.errors import UserError
from lra.files import visible
from lra.tasks.publisher import find, from_tfds, inside
from lra.tasks.task import Blocks, Sized, Split, Task, Warn

PUBLISHED = "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
TFDS = "imdb_reviews/plain_text"
BYTES = 257  # rows of LRA's embedding: one for each byte, and one for its padding, which is no token here
BLOCK = 1000
RATINGS = {"neg": range(1, 5), "pos": range(7, 11)}


@dataclass(frozen=True)
class Text(Sized):
    """IMDb's reviews as bytes.

    Attributes:
      max_length: bytes of a review; longer ones are cut. The default is LRA's.
      train: reviews of the training split.
      validation: reviews of the validation split, which are taken from IMDb's 25,000 training reviews. The default
        holds out a tenth of these; with 0 all of them are in `train`.
      test: reviews of the test split, which is IMDb's official one.
    """

    max_length: int = 4096
    train: int = 22_500
    validation: int = 2_500
    test: int = 25_000

    @property
    def files(self) -> str:
        return inside("(train|test)/(pos|neg)/[^/]+", "aclImdb")

    def generate(self, workers: int = 1) -> Blocks:
        """The reviews from TFDS."""
        halves = (from_tfds(TFDS, half, "text", PUBLISHED) for half in ("train", "test"))
        train, test = ([(row["text"], int(row["label"])) for row in half] for half in halves)
        return self.deal(train, test, TFDS)

    def read(self, folder: Path, workers: int, warn: Warn) -> Blocks:
        """The reviews from the folder `aclImdb`, as its archive unpacks it."""
        return self.deal(read_half(folder, "train"), read_half(folder, "test"), str(folder))

    def deal(self, train: list[tuple[bytes, int]], test: list[tuple[bytes, int]], origin: str) -> Blocks:
        for half, rows, expected in (("train", train, self.train + self.validation), ("test", test, self.test)):
            if len(rows) != expected:
                raise UserError(
                    f"{origin} has {len(rows):,} reviews in its half '{half}', {expected:,} were expected; fetch the "
                    f"archive again, or say --gin 'text.train = ...' (and validation, test) if it is meant to be so"
                )
        train, test = (
            sorted(rows, key=lambda row: (hashlib.sha256(row[0]).digest(), row[1])) for rows in (train, test)
        )
        parts = {"train": train[self.validation :], "validation": train[: self.validation], "test": test}
        for split, rows in parts.items():
            for start in range(0, len(rows), BLOCK):
                texts, labels = zip(*rows[start : start + BLOCK])
                yield split, Split(*pad(texts, self.max_length), np.array(labels, np.int32))


def read_half(folder: Path, half: str) -> list[tuple[bytes, int]]:
    """The reviews of `aclImdb/<half>` and their labels.

    Raises:
      UserError: a file is missing, empty, renamed or not text. The message names it.
    """
    rows = []
    for label, name in enumerate(("neg", "pos")):
        place = find(folder, f"aclImdb/{half}", PUBLISHED) / name
        if not place.is_dir():
            raise UserError(f"{place} is not a folder; fetch {PUBLISHED}")
        numbers = set()
        for path in visible(place.iterdir()):
            matched = re.fullmatch(r"(\d+)_(\d+)\.txt", path.name, re.ASCII)
            if not matched:
                raise UserError(f"{path}: a review is called NUMBER_RATING.txt; the file was renamed or is not IMDb's")
            if int(matched[2]) not in RATINGS[name]:
                raise UserError(
                    f"{path}: a rating of {matched[2]} does not belong into '{name}'; unpack the archive again"
                )
            try:
                text = path.read_bytes()
                text.decode()
            except OSError as error:
                raise UserError(f"cannot read {path}: {error.strerror}; unpack the archive again") from error
            except UnicodeDecodeError as error:
                raise UserError(f"{path}, byte {error.start}: not UTF-8; unpack the archive again") from error
            if not text:
                raise UserError(f"{path} is empty; unpack the archive again")
            numbers.add(int(matched[1]))
            rows.append((text, label))
        if gaps := set(range(len(numbers))) - numbers:
            raise UserError(f"{place} has no review {min(gaps)} (the files are numbered); unpack the archive again")
    return rows


def pad(texts: Iterable[bytes], max_length: int) -> tuple[np.ndarray, np.ndarray]:
    """(inputs [n, max_length], lengths [n]): the first bytes of each text, with zeros behind them."""
    texts = [text[:max_length] for text in texts]
    inputs = np.frombuffer(b"".join(text.ljust(max_length, b"\0") for text in texts), np.uint8)
    return inputs.reshape(len(texts), max_length), np.array([len(text) for text in texts], np.int32)


def show(ids: Int[np.ndarray, " length"]) -> str:
    """The text. A character that was cut in two is shown as a replacement character."""
    return bytes(ids.tolist()).decode(errors="replace")


TEXT = Task(
    name="text",
    version="1.0.0",
    summary="is a movie review positive? IMDb, bytes",
    source=Text,
    classes=("negative", "positive"),
    vocab_size=BYTES,
    citation="Maas et al. 2011 (ACL, P11-1015); Tay et al. 2021 (arXiv 2011.04006)",
    licence="IMDb's reviews, for research; not distributed here",
    show=show,
    origin="TFDS imdb_reviews",
    published=PUBLISHED,
    data_sha256="f2122b4accc024186b57aec98c9d2d62309c70fdd636ab25d8b22d1f541359c1",
)
