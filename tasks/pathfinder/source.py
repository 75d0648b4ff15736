"""Where Pathfinder's examples come from: the generator, or LRA's files."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lra.tasks.pathfinder import files
from lra.tasks.pathfinder.drawing import draw_chunks
from lra.tasks.pathfinder.law import Law
from lra.tasks.pathfinder.shapes import Bytes
from lra.tasks.task import SPLITS, Blocks, Split, Warn


@dataclass(frozen=True)
class Pathfinder(Law):
    """LRA's pathfinder32, "hard". `Law` has the parameters."""

    @property
    def files(self) -> str:
        return files.pattern(self)

    def generate(self, workers: int = 1) -> Blocks:
        """The chunks in their order, dealt to the training split, then to the validation and the test split."""
        chunks = -(-sum(self.sizes.values()) // self.chunk)
        return deal(self, ((c.images, c.labels) for c in draw_chunks(self, range(chunks), workers)))

    def read(self, folder: Path, workers: int, warn: Warn) -> Blocks:
        """LRA's images, from its folder or its TFDS build. They are dealt like generated ones."""
        return deal(self, files.read(self, folder, workers, warn))


@dataclass(frozen=True)
class Pathfinder64(Pathfinder):
    """LRA's pathfinder64, "hard". `Law` has the parameters; these are the other defaults."""

    resolution: int = 64
    paddle_length: int = 5
    paddle_thickness: float = 1.0
    seed_distance: int = 12
    marker_radius: float = 2.5
    continuity: float = 1.8
    distractor_paddles: int = 22
    snake_contrast: float = 0.8
    paddle_contrast: float = 1.0


@dataclass(frozen=True)
class PathX(Pathfinder64):
    """LRA's pathfinder128, "hard". `Law` has the parameters; these are the defaults that differ from Pathfinder64's."""

    resolution: int = 128
    paddle_thickness: float = 1.5
    paddle_margins: tuple[int, ...] = (2, 3)
    seed_distance: int = 20
    marker_radius: float = 3.0
    distractor_paddles: int = 35
    snake_contrast: float = 0.9


@dataclass(frozen=True)
class PathX256(Pathfinder64):
    """LRA's pathfinder256, "hard". `Law` has the parameters; these are the defaults that differ from Pathfinder64's."""

    resolution: int = 256
    paddle_thickness: float = 2.0
    paddle_margins: tuple[int, ...] = (3,)
    seed_distance: int = 27
    padding: int = 22
    marker_radius: float = 5.0
    distractor_paddles: int = 30
    snake_contrast: float = 1.0
    chunk: int = 100


def deal(law: Law, blocks: Iterable[tuple[Bytes, files.Labels]]) -> Blocks:
    """Blocks of images [n, resolution, resolution] and labels [n] as examples of the splits, by position.

    An image with a negative label counts as a position and is left out.
    """
    ends = dict(zip(SPLITS, itertools.accumulate(law.sizes.values())))
    position = 0
    for images, labels in blocks:
        for split, end in ends.items():
            start = end - law.sizes[split]
            part = slice(max(0, start - position), max(0, end - position))
            kept = labels[part].astype(np.int32) >= 0
            if kept.any():
                inputs = images[part][kept].reshape(-1, law.max_length)
                lengths = np.full(len(inputs), law.max_length, np.int32)
                yield split, Split(inputs, lengths, labels[part][kept].astype(np.int32))
        position += len(labels)
