"""Small synthetic stand-ins for the tasks whose examples are other people's files.

The protocol `demo` runs on them where the real tasks need a download. They are tasks of their own, with their own names
in every record and every table. They have nothing in common with the real tasks but the shape of an example.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lra.errors import UserError
from lra.tasks import image, retrieval, text
from lra.tasks.pictures import as_characters
from lra.tasks.task import Blocks, Sized, Split, Task, Warn
from lra.tasks.words import Words

SYLLABLES = ("ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru", "sa", "te")
VOCABULARY = tuple(a + b for a in SYLLABLES for b in SYLLABLES)
BAD, GOOD, NEUTRAL = VOCABULARY[:8], VOCABULARY[8:16], VOCABULARY[16:48]
TOPICS = tuple(VOCABULARY[start : start + 8] for start in range(48, 144, 16))
TELLING = 5  # words of a synthetic review that decide its label


@dataclass(frozen=True)
class Synthetic(Sized):
    """What the stand-ins share. A subclass draws the examples of a split.

    Attributes:
      train: examples of the training split.
      validation: examples of the validation split.
      test: examples of the test split.
      seed: the seed of all examples.
    """

    train: int = 4_000
    validation: int = 500
    test: int = 1_000
    seed: int = 0

    @property
    def files(self) -> str:
        return "$^"

    def draw(self, size: int, words: Words) -> Split:
        raise NotImplementedError

    def generate(self, workers: int = 1) -> Blocks:
        for index, (split, size) in enumerate(self.sizes.items()):
            if size:
                yield split, self.draw(size, Words(self.seed, index))

    def read(self, folder: Path, workers: int, warn: Warn) -> Blocks:
        raise UserError("a synthetic stand-in is generated and not read from files; leave out --from")


@dataclass(frozen=True)
class SyntheticText(Synthetic):
    """A stand-in for text, not text: made-up words, five of which are good or bad. The label is what most of the five
    are.

    Attributes:
      max_length: bytes of an example; longer ones are cut.
    """

    max_length: int = 128

    def draw(self, size: int, words: Words) -> Split:
        labels = words.below(2, size)
        texts = []
        for label, length in zip(labels, 8 + words.below(8, size)):
            line = [NEUTRAL[word] for word in words.below(len(NEUTRAL), int(length))]
            agreeing = TELLING - int(words.below(TELLING // 2 + 1, 1)[0])
            for index, place in enumerate(words.below(len(line), TELLING)):
                telling = (BAD, GOOD)[label if index < agreeing else 1 - label]
                line.insert(int(place), telling[int(words.below(len(telling), 1)[0])])
            texts.append(" ".join(line).encode())
        return Split(*text.pad(texts, self.max_length), labels.astype(np.int32))


@dataclass(frozen=True)
class SyntheticRetrieval(Synthetic):
    """A stand-in for retrieval, not retrieval: pairs of documents of made-up words, a third of them on one of six
    topics. The label says whether both documents have the same topic.

    Attributes:
      max_length: bytes of each document; longer ones are cut.
    """

    max_length: int = 96

    def draw(self, size: int, words: Words) -> Split:
        labels = words.below(2, size)
        first, away = words.below(len(TOPICS), size), 1 + words.below(len(TOPICS) - 1, size)
        topics = np.stack([first, (first + away * (1 - labels)) % len(TOPICS)], axis=1)
        texts = [b" ".join(self.document(int(topic), words)) for topic in topics.ravel()]
        inputs, lengths = text.pad(texts, self.max_length)
        return Split(inputs.reshape(size, 2, -1), lengths.reshape(size, 2), labels.astype(np.int32))

    def document(self, topic: int, words: Words) -> Iterator[bytes]:
        length = 12 + int(words.below(6, 1)[0])
        for kind, word in zip(words.below(3, length), words.below(1 << 16, length)):
            among = TOPICS[topic] if kind == 0 else NEUTRAL
            yield among[word % len(among)].encode()


@dataclass(frozen=True)
class SyntheticImage(Synthetic):
    """A stand-in for image, not image: a bright disc on noise. The label is the cell that it is in, one of ten (two
    rows of five).

    Attributes:
      side: the height and the width of an image, in pixels.
    """

    side: int = 12

    @property
    def max_length(self) -> int:
        return self.side**2

    def draw(self, size: int, words: Words) -> Split:
        labels = words.below(10, size)
        cell = np.array([self.side / 2, self.side / 5])
        corner = np.stack([labels // 5, labels % 5], axis=1) * cell
        centre = corner + cell * (0.3 + 0.4 * words.below(256, (size, 2)) / 256)
        y, x = np.mgrid[: self.side, : self.side]
        away = (y - centre[:, 0, None, None]) ** 2 + (x - centre[:, 1, None, None]) ** 2
        noise = 32 * words.below(4, (size, self.side, self.side))
        images = np.where(away < (self.side / 8) ** 2, 128 + noise, noise).astype(np.uint8)
        lengths = np.full(size, self.max_length, np.int32)
        return Split(images.reshape(size, -1), lengths, labels.astype(np.int32))


stand_in = partial(
    Task, version="1.0.0", licence="generated here (Apache-2.0)", citation="none: a synthetic stand-in, not a benchmark"
)
SYNTHETIC_TEXT = stand_in(
    "synthetic_text",
    stands_in_for="text",
    summary="stand-in for text: made-up words, are more of them good or bad?",
    source=SyntheticText,
    classes=text.TEXT.classes,
    vocab_size=text.BYTES,
    show=text.show,
    data_sha256="449da47565e7d9cca424b91a986bbca9b15aaa582afdb43b5052654d46b627e7",
)
SYNTHETIC_RETRIEVAL = stand_in(
    "synthetic_retrieval",
    stands_in_for="retrieval",
    summary="stand-in for retrieval: made-up words, is it one topic?",
    source=SyntheticRetrieval,
    classes=retrieval.RETRIEVAL.classes,
    vocab_size=text.BYTES,
    show=text.show,
    documents=2,
    data_sha256="e3a785ab980eb1c1563486b8ac5f35695f6e3f461fa5c0b8e5a285b2329b03c3",
)
SYNTHETIC_IMAGE = stand_in(
    "synthetic_image",
    stands_in_for="image",
    summary="stand-in for image: a disc in one of ten cells",
    source=SyntheticImage,
    classes=tuple(f"cell {index}" for index in range(10)),
    vocab_size=image.IMAGE.vocab_size,
    show=as_characters,
    picture=True,
    data_sha256="3e21caa3b34b87444b518135e08574d37602f22429e09c812b3183060453399c",
)
