"""The predictions of a test split, compressed and hashed, so that scores can be recomputed without the model."""

import base64
import binascii
import hashlib
import io
import zlib

import numpy as np
from jaxtyping import Int, Int16, UInt8

from lra.errors import UserError
from lra.leaderboard.strict import Part, WholeNumber

MOST = 1 << 22  # the most answers, since a few bytes may unpack to any number of them
NONE = 255  # of a token without a label, in place of -1


class Packed(Part, frozen=True, kw_only=True):
    """Classes of examples in the order of the split, or of all their tokens: a byte each, deflated, in base64."""

    count: WholeNumber
    sha256: str  # of the bytes
    deflated: str


def pack(classes: Int[np.ndarray, "examples *tokens"]) -> Packed:
    """Packs classes, which are whole numbers from 0 to 255. Those of tokens may be -1, for none.

    Raises:
      ValueError: a class is another number.
    """
    wanted = np.asarray(classes)
    wanted = np.where(wanted == -1, np.int64(NONE), wanted) if wanted.ndim == 2 else wanted
    raw = wanted.astype(np.uint8)
    if not np.array_equal(raw, wanted):
        raise ValueError("a class is a whole number from 0 to 255")
    deflated = base64.b64encode(zlib.compress(raw.tobytes(), 9)).decode()
    return Packed(count=raw.size, sha256=hashlib.sha256(raw.tobytes()).hexdigest(), deflated=deflated)


def unpack(packed: Packed, name: str) -> UInt8[np.ndarray, " examples"]:
    """The classes that were packed. Their number and their hash are checked.

    Args:
      name: what the error calls them.

    Raises:
      UserError: the packed text is damaged, or its number or hash is another.
    """
    if not 0 < packed.count <= MOST:
        raise UserError(f"{name} has {packed.count:,} examples, not 1 to {MOST:,}")
    try:
        raw = zlib.decompressobj().decompress(base64.b64decode(packed.deflated, validate=True), packed.count + 1)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise UserError(f"{name} cannot be unpacked ({error})") from error
    if len(raw) != packed.count:
        raise UserError(f"{name} has not the {packed.count:,} examples that it says")
    if hashlib.sha256(raw).hexdigest() != packed.sha256:
        raise UserError(f"{name} is damaged, its SHA-256 is another")
    return np.frombuffer(raw, np.uint8)


def by_example(classes: UInt8[np.ndarray, " answers"], examples: int) -> Int16[np.ndarray, "examples *tokens"]:
    """Classes that were packed, in the shape that they had before.

    Raises:
      UserError: they are not those of so many examples.
    """
    if not examples or len(classes) % examples:
        raise UserError(f"there are {len(classes):,} labels and {examples:,} test examples")
    wide = classes.astype(np.int16)
    return wide if len(wide) == examples else np.where(wide == NONE, -1, wide).reshape(examples, -1)


def labels_file_sha256(labels: Int[np.ndarray, "examples *tokens"]) -> str:
    """The SHA-256 that the file `test.labels.npy` of a prepared task has if it holds these labels."""
    return file_sha256(labels.astype("<i4"))


def file_sha256(array: np.ndarray) -> str:
    """The SHA-256 of the file of an array."""
    file = io.BytesIO()
    np.save(file, array)
    return hashlib.sha256(file.getvalue()).hexdigest()


def accuracy_by_level(
    predictions: Int[np.ndarray, "examples *tokens"],
    labels: Int[np.ndarray, "examples *tokens"],
    bins: Int[np.ndarray, "examples *tokens"],
    levels: int,
) -> tuple[float | None, ...]:
    """The share of the labels of each level of difficulty that was predicted; None of a level without labels."""
    there = labels >= 0
    count = np.bincount(bins[there], minlength=levels).tolist()
    right = np.bincount(bins[there & (predictions == labels)], minlength=levels).tolist()
    return tuple(share / number if number else None for share, number in zip(right, count))
