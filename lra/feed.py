"""How a split reaches the device: whole, if there is room, or else piece by piece from the memory map."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from lra.tasks import Split

PIECE = 256 << 20  # bytes of examples at a time; two pieces are under way
ROOM = 0.5  # of the device's memory may be taken by the training split


class Piece(NamedTuple):
    """What some steps need.

    Attributes:
      examples: on the device.
      rows: which of them each step and seed reads; only the first `steps` steps are meant.
    """

    examples: Split
    rows: Int[np.ndarray, "span seeds batch"]
    steps: int


def room() -> int:
    """Bytes that the training split may take of the device's memory."""
    stats = jax.devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return int(ROOM * stats["bytes_limit"])
    with open("/proc/meminfo") as file:  # the device is this machine's processor
        kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in file}
    return int(ROOM * 1024 * kilobytes["MemAvailable"])


def size(split: Split) -> int:
    """Bytes of a split."""
    return split.inputs.nbytes + split.lengths.nbytes + split.labels.nbytes


def gather(split: Split, rows: slice | Int[np.ndarray, " rows"]) -> Split:
    """Examples of a split on the device, read from its memory map."""
    part = split[rows]
    return jax.device_put(Split(*(np.asarray(column) for column in (part.inputs, part.lengths, part.labels))))


class Feed:
    """The batches of a run. What a step reads does not depend on how it got to the device.

    Args:
      rows_of: (seed, step) -> the examples of a batch [batch].
      seeds, steps: of the run.
      span: steps that one piece serves at most.
      room: bytes that the split may take of the device's memory.
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
        self.pieces: dict[int, Future[Piece]] = {}  # by their first step, the present one and the next

    def piece(self, step: int) -> Piece:
        """For some steps from `step` on; the one after it is read meanwhile."""
        first = step - step % self.span
        wanted = [start for start in (first, first + self.span) if start < self.steps]
        self.pieces = {start: self.pieces.get(start) or self.pool.submit(self.read, start) for start in wanted}
        examples, rows, _ = self.pieces[first].result()
        return Piece(examples, np.roll(rows, first - step, axis=0), self.span - (step - first))

    def read(self, first: int) -> Piece:
        rows = np.zeros((self.span, len(self.seeds), self.batch), np.int32)
        for index in range(min(self.span, self.steps - first)):
            for place, seed in enumerate(self.seeds):
                rows[index, place] = self.rows_of(seed, first + index)
        if self.resident:
            return Piece(self.resident, rows, self.span)
        # a batch is read once more if two steps share an example: then all pieces are of one shape
        own = np.arange(rows.size, dtype=np.int32).reshape(rows.shape)
        return Piece(gather(self.split, rows.ravel()), own, self.span)

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)
