"""Brings a split to the device: whole if its memory has room, else in pieces from the memory map."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from lra import settings
from lra.tasks import Split

PIECE = 256 << 20  # the most bytes of examples in a piece; two pieces are on the device
ROOM = 0.5  # the share of the device's memory that the training split may take


class Piece(NamedTuple):
    """The examples of some train steps.

    Attributes:
      examples: the examples on the device.
      rows: the positions in `examples` that each step and seed reads.
      steps: how many of the first steps in `rows` are valid.
    """

    examples: Split
    rows: Int[np.ndarray, "span seeds batch"]
    steps: int


def room() -> int:
    """The bytes of the device's memory that the training split may take."""
    stats = settings.device().memory_stats() or {}
    if "bytes_limit" in stats:
        return int(ROOM * stats["bytes_limit"])
    with open("/proc/meminfo", encoding="utf-8") as file:  # the device is the CPU
        kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in file}
    return int(ROOM * 1024 * kilobytes["MemAvailable"])


def size(split: Split) -> int:
    """The bytes of a split."""
    return split.inputs.nbytes + split.lengths.nbytes + split.labels.nbytes


def gather(split: Split, rows: slice | Int[np.ndarray, " rows"]) -> Split:
    """Copies examples of a split from the memory map to the device."""
    part = split[rows]
    return jax.device_put(Split(*(np.asarray(column) for column in (part.inputs, part.lengths, part.labels))))


class Feed:
    """The batches of a run. They do not depend on whether the split is on the device as a whole.

    Args:
      rows_of: (seed, step) -> the positions in the split of a batch's examples [batch].
      seeds: the seeds of the run.
      steps: the number of train steps of the run.
      span: the most steps in a piece.
      room: the bytes of the device's memory that the split may take.
    """

    def __init__(
        self,
        split: Split,
        rows_of: Callable[[int, int], Int[np.ndarray, " batch"]],
        seeds: Sequence[int],
        steps: int,
        span: int,
        room: int,
    ):
        self.split, self.rows_of, self.seeds, self.steps = split, rows_of, seeds, steps
        self.resident = gather(split, slice(None)) if size(split) <= room else None
        self.batch = len(rows_of(seeds[0], 0))
        per_step = len(seeds) * self.batch * (size(split) // len(split) + 1)
        self.span = span if self.resident else max(1, min(span, PIECE // per_step))
        self.pool = ThreadPoolExecutor(1)
        self.pieces: dict[int, Future[Piece]] = {}  # by first step: the current piece and the next

    def piece(self, step: int) -> Piece:
        """The piece that begins at a step. The next piece is read in the background."""
        first = step - step % self.span
        wanted = [start for start in (first, first + self.span) if start < self.steps]
        self.pieces = {start: self.pieces.get(start) or self.pool.submit(self.read, start) for start in wanted}
        examples, rows, _ = self.pieces[first].result()
        return Piece(examples, np.roll(rows, first - step, axis=0), self.span - (step - first))

    def read(self, first: int) -> Piece:
        """Reads the piece whose first step is `first`."""
        rows = np.zeros((self.span, len(self.seeds), self.batch), np.int32)
        for index in range(min(self.span, self.steps - first)):
            for place, seed in enumerate(self.seeds):
                rows[index, place] = self.rows_of(seed, first + index)
        if self.resident:
            return Piece(self.resident, rows, self.span)
        # an example that two steps share is read twice, so that all pieces have one shape
        own = np.arange(rows.size, dtype=np.int32).reshape(rows.shape)
        return Piece(gather(self.split, rows.ravel()), own, self.span)

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)
