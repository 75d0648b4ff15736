"""The predictions of a test split, compressed and hashed, so that scores can be recomputed without the model."""

import base64
import binascii
import hashlib
import io
import zlib

import numpy as np
from jaxtyping import Int, UInt8

from lra.errors import UserError
from lra.leaderboard.strict import Part, WholeNumber

MOST = 1 << 22  # the most examples, since a few bytes may unpack to any number of them


class Packed(Part, frozen=True, kw_only=True):
    """Classes of examples in the order of the split: a byte each, deflated, in base64."""

    count: WholeNumber
    sha256: str  # of the bytes
    deflated: str


def pack(classes: Int[np.ndarray, " examples"]) -> Packed:
    """Packs classes, which are whole numbers from 0 to 255.

    Raises:
      ValueError: a class is another number.
    """
    raw = np.asarray(classes).astype(np.uint8)
    if not np.array_equal(raw, classes):
        raise ValueError("a class is a whole number from 0 to 255")
    deflated = base64.b64encode(zlib.compress(raw.tobytes(), 9)).decode()
    return Packed(count=len(raw), sha256=hashlib.sha256(raw.tobytes()).hexdigest(), deflated=deflated)


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


def labels_file_sha256(labels: Int[np.ndarray, " examples"]) -> str:
    """The SHA-256 that the file `test.labels.npy` of a prepared task has if it holds these labels."""
    file = io.BytesIO()
    np.save(file, labels.astype("<i4"))
    return hashlib.sha256(file.getvalue()).hexdigest()
