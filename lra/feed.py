"""Brings a split to the devices: whole if their memory has room, else in pieces from the memory map."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from lra import memory
from lra.order import Order, lengths_of, padded_sizes, padded_to
from lra.placement import Placement
from lra.tasks import Split

PIECE = 256 << 20  # the most bytes of examples in a piece; two pieces are on the device
ROOM = 0.5  # the share of a device's memory that the training split may take


class Piece(NamedTuple):
    """The examples of some train steps.

    Attributes:
      examples: the examples on the devices.
      rows: the positions in `examples` that each step and seed reads.
      sizes: the tokens to which the examples of each step are padded.
      steps: how many of the first steps in `rows` are valid.
    """

    examples: Split
    rows: Int[np.ndarray, "span seeds batch"]
    sizes: Int[np.ndarray, " span"]
    steps: int


def room(placement: Placement) -> int:
    """The bytes of a device's memory that the training split may take."""
    return int(ROOM * memory.there(placement.device))


def size(split: Split) -> int:
    """The bytes of a split."""
    return split.inputs.nbytes + split.lengths.nbytes + split.labels.nbytes


def gather(split: Split, rows: slice | Int[np.ndarray, "*shape"]) -> Split:
    """Copies examples of a split from the memory map."""
    part = split[rows]
    return Split(*(np.asarray(column) for column in (part.inputs, part.lengths, part.labels)))


def sizes_of(split: Split, window: int | None) -> tuple[int, ...]:
    """The tokens to which batches are padded, ascending; `window` as for Order."""
    longest = split.inputs.shape[-1]
    return padded_sizes(lengths_of(split), longest) if window else (longest,)


class Feed:
    """The batches of a run. They do not depend on whether the split is on the devices as a whole.

    Args:
      order: the batches of each seed.
      seeds: the seeds of the run.
      steps: the number of train steps of the run.
      span: the most steps in a piece.
      room: the bytes of a device's memory that the split may take.

    Attributes:
      sizes: all that batches are padded to, ascending.
    """

    def __init__(
        self, split: Split, order: Order, seeds: Sequence[int], steps: int, span: int, room: int, placement: Placement
    ):
        self.split, self.order, self.seeds, self.steps, self.placement = split, order, seeds, steps, placement
        self.sizes = sizes_of(split, order.window)
        self.resident = placement.put(gather(split, slice(None))) if size(split) <= room else None
        per_step = len(seeds) * order.batch * (size(split) // len(split) + 1)
        self.span = span if self.resident else max(1, min(span, PIECE // per_step))
        self.pool = ThreadPoolExecutor(1)
        self.pieces: dict[int, Future[Piece]] = {}  # by first step: the current piece and the next

    def piece(self, step: int) -> Piece:
        """The piece that begins at a step. The next piece is read in the background."""
        first = step - step % self.span
        wanted = [start for start in (first, first + self.span) if start < self.steps]
        self.pieces = {start: self.pieces.get(start) or self.pool.submit(self.read, start) for start in wanted}
        examples, rows, sizes, _ = self.pieces[first].result()
        back = first - step
        return Piece(examples, np.roll(rows, back, axis=0), np.roll(sizes, back), self.span + back)

    def read(self, first: int) -> Piece:
        """Reads the piece whose first step is `first`."""
        rows = np.zeros((self.span, len(self.seeds), self.order.batch), np.int32)
        for index in range(min(self.span, self.steps - first)):
            for place, seed in enumerate(self.seeds):
                rows[index, place] = self.order.rows(seed, first + index)
        sizes = padded_to(self.sizes, self.order.lengths[rows].max((1, 2)))
        if self.resident:
            return Piece(self.resident, rows, sizes, self.span)
        # an example that two steps share is read twice, so that all pieces have one shape
        own = np.arange(rows.size, dtype=np.int32).reshape(rows.shape)
        return Piece(self.placement.put(gather(self.split, rows.ravel())), own, sizes, self.span)

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)
