"""Image: what does a picture show, read pixel by pixel in grey? CIFAR-10 (Krizhevsky 2009).

The examples are in the publisher's order, whether they come from its files or from TFDS. The last 5,000 training images
are the validation split. LRA splits 90:10 by position too, but in the order in which TFDS stores the images.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from lra.errors import UserError
from lra.tasks.pictures import as_characters
from lra.tasks.publisher import find, from_tfds, inside
from lra.tasks.task import Blocks, Sized, Split, Task, Warn

PUBLISHED = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
TFDS = "cifar10"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FILES = {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)}
SIDE = 32
RECORD = 1 + 3 * SIDE**2  # bytes: the label, then the red, green and blue planes
BLOCK = 1000


@dataclass(frozen=True)
class Image(Sized):
    """CIFAR-10 in grey levels 0 to 255.

    Attributes:
      train: images of the training split. They are the first of CIFAR-10's 50,000 training images.
      validation: images of the validation split. They are the last of the training images; the default holds out a
        tenth.
      test: images of the test split, which is CIFAR-10's official one.
    """

    train: int = 45_000
    validation: int = 5_000
    test: int = 10_000

    @property
    def max_length(self) -> int:
        return SIDE**2

    @property
    def files(self) -> str:
        return inside(r"(data_batch_[1-5]|test_batch)\.bin", "cifar-10-batches-bin")

    def generate(self, workers: int = 1) -> Blocks:
        """The images from TFDS, put back into the publisher's order by the numbers that TFDS gives them."""
        halves = {}
        for half in ("train", "test"):
            rows = sorted(from_tfds(TFDS, half, "image", PUBLISHED), key=lambda row: row["id"])
            images = np.stack([row["image"] for row in rows])
            halves[half] = (
                grey(images[..., 0], images[..., 1], images[..., 2]),
                np.array([row["label"] for row in rows]),
            )
        return self.deal(halves, TFDS)

    def read(self, folder: Path, workers: int, warn: Warn) -> Blocks:
        """The images from the folder `cifar-10-batches-bin`, as the archive of the binary version unpacks it."""
        halves = {}
        for half, names in FILES.items():
            images, labels = zip(*(read_batch(find(folder, f"cifar-10-batches-bin/{n}", PUBLISHED)) for n in names))
            halves[half] = np.concatenate(images), np.concatenate(labels)
        return self.deal(halves, str(folder))

    def deal(self, halves: dict[str, tuple[np.ndarray, np.ndarray]], origin: str) -> Blocks:
        parts = {"train": ("train", 0), "validation": ("train", self.train), "test": ("test", 0)}
        for half, expected in (("train", self.train + self.validation), ("test", self.test)):
            if (count := len(halves[half][1])) != expected:
                raise UserError(
                    f"{origin} has {count:,} images in its half '{half}', {expected:,} were expected; fetch the "
                    "archive again, or say --gin 'image.train = ...' (and validation, test) if it is meant to be so"
                )
        for split, (half, first) in parts.items():
            yield from blocks_of(split, *(column[first : first + self.sizes[split]] for column in halves[half]))


def blocks_of(split: str, images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[str, Split]]:
    for start in range(0, len(labels), BLOCK):
        inputs = images[start : start + BLOCK].reshape(-1, SIDE**2)
        lengths = np.full(len(inputs), SIDE**2, np.int32)
        yield split, Split(inputs, lengths, labels[start : start + BLOCK].astype(np.int32))


def read_batch(path: Path) -> tuple[UInt8[np.ndarray, "n pixels"], Int[np.ndarray, " n"]]:
    """Grey levels and labels of a file of CIFAR-10's binary version.

    Raises:
      UserError: the file is cut off, or a label is not one of 0 to 9. The message names the record.
    """
    try:
        raw = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; unpack the archive again") from error
    if not len(raw) or len(raw) % RECORD:
        raise UserError(f"{path} has {len(raw):,} bytes, not a multiple of {RECORD:,}: it is cut off; fetch it again")
    records = raw.reshape(-1, RECORD)
    if len(wrong := np.flatnonzero(records[:, 0] >= len(CLASSES))):
        raise UserError(
            f"{path}, record {wrong[0] + 1}: the label {records[wrong[0], 0]} is not one of 0 to 9; fetch it again"
        )
    red, green, blue = (records[:, 1 + plane * SIDE**2 : 1 + (plane + 1) * SIDE**2] for plane in range(3))
    return grey(red, green, blue), records[:, 0]


def grey(
    red: UInt8[np.ndarray, "*shape"], green: UInt8[np.ndarray, "*shape"], blue: UInt8[np.ndarray, "*shape"]
) -> UInt8[np.ndarray, "*shape"]:
    """The grey levels that TensorFlow's `rgb_to_grayscale` gives for bytes, bit for bit. LRA's images have these.

    It scales to floats in 0..1, adds them with weights, scales back with 255.5 and cuts off, all in single precision.
    """
    scale, weights = np.float32(1 / 255), np.array([0.2989, 0.5870, 0.1140], np.float32)
    parts = [channel.astype(np.float32) * scale * weight for channel, weight in zip((red, green, blue), weights)]
    return ((parts[0] + parts[1] + parts[2]) * np.float32(255.5)).astype(np.uint8)


IMAGE = Task(
    name="image",
    version="1.0.0",
    summary="what does a picture show? CIFAR-10, 32 x 32 grey levels, ten classes",
    source=Image,
    classes=CLASSES,
    vocab_size=256,
    citation="Krizhevsky 2009 (Learning multiple layers of features from tiny images); Tay et al. 2021 (2011.04006)",
    licence="CIFAR-10's, which names none; not distributed here",
    show=as_characters,
    origin="TFDS cifar10",
    published=PUBLISHED,
    data_sha256="da0db22595fe6cd950abcc54bb876bd49c3c0f0f3e878cff2c05e407a762c1c9",
    picture=True,
)
