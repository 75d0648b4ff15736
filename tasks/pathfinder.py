"""Pathfinder: are two marked tips the ends of one dashed contour, or of two?

Each image shows two long contours of short paddles, shorter distractor contours, and two discs: on both ends
of one long contour (label 1), or on one end of each (label 0). The law is that of the generator of the Long
Range Arena (Linsley et al., 2018; github.com/drewlinsley/pathfinder), quirks included; this is an independent
implementation. Path-X is the same at 128 x 128 pixels.
"""

import itertools
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lra.tasks import pathfinder_files
from lra.tasks.pathfinder_drawing import draw_chunks
from lra.tasks.pictures import as_characters
from lra.tasks.task import SPLITS, Blocks, Sized, Split, Task, Warn


@dataclass(frozen=True)
class Pathfinder(Sized):
    """A Pathfinder data set; the defaults are LRA's pathfinder32. Distances are in pixels."""

    resolution: int = 32
    contour_length: int = 14  # paddles of each of the two long contours; LRA's easy has 6, its intermediate 9
    padding: int = 1  # pixels along the border that paddles avoid
    paddle_margins: tuple[int, ...] = (1,)  # one is drawn for each image
    paddle_length: int = 2
    paddle_thickness: float = 0.5
    seed_distance: int = 7  # between the first tips of the long contours
    marker_radius: float = 1.5
    continuity: float = 1.0
    distractor_paddles: int = 20  # of all distractors of an image together
    snake_contrast: float = 2.0
    paddle_contrast: float = 0.75  # of the long contours only: the original forgets it for distractors
    antialias: int = 2
    train: int = 160_000
    validation: int = 20_000
    test: int = 20_000
    seed: int = 0
    chunk: int = 200  # images drawn together

    def __post_init__(self) -> None:
        super().__post_init__()
        reach = self.paddle_length + max(self.paddle_margins)
        if self.contour_length < 3 or self.padding < 1:
            raise ValueError("a contour has 3 paddles or more, and the border 1 pixel or more")
        if not reach + 2 <= self.seed_distance < self.resolution / 4:
            raise ValueError("with this seed_distance the first paddles may not lie in the image")
        if self.antialias * self.paddle_thickness % 1:
            raise ValueError("antialias * paddle_thickness is not a whole number of pixels")
        if not isinstance(self.chunk, int) or self.chunk < 1:
            raise ValueError(f"chunk = {self.chunk!r} is not a number of images")

    @property
    def max_length(self) -> int:
        return self.resolution**2

    @property
    def files(self) -> str:
        return pathfinder_files.pattern(self)

    @property
    def distractor_length(self) -> int:
        return self.contour_length // 3

    @property
    def distractors(self) -> int:
        return self.distractor_paddles // self.distractor_length

    @property
    def crowd(self) -> int:
        """How many paddles an image can have."""
        return 2 * self.contour_length + self.distractors * self.distractor_length

    def generate(self, workers: int = 1) -> Blocks:
        """The chunks in their order, dealt to train, then validation, then test."""
        chunks = -(-sum(self.sizes.values()) // self.chunk)
        return deal(self, ((c.images, c.labels) for c in draw_chunks(self, range(chunks), workers)))

    def read(self, folder: Path, workers: int, warn: Warn) -> Blocks:
        """LRA's images, from its folder or its TFDS build, dealt like those that are generated."""
        return deal(self, pathfinder_files.read(self, folder, workers, warn))


@dataclass(frozen=True)
class Pathfinder64(Pathfinder):
    """LRA's pathfinder64."""

    resolution: int = 64
    paddle_length: int = 5
    paddle_thickness: float = 1
    seed_distance: int = 12
    marker_radius: float = 2.5
    continuity: float = 1.8
    distractor_paddles: int = 22
    snake_contrast: float = 0.8
    paddle_contrast: float = 1.0


@dataclass(frozen=True)
class PathX(Pathfinder64):
    """LRA's pathfinder128."""

    resolution: int = 128
    paddle_thickness: float = 1.5
    paddle_margins: tuple[int, ...] = (2, 3)
    seed_distance: int = 20
    marker_radius: float = 3
    distractor_paddles: int = 35
    snake_contrast: float = 0.9


@dataclass(frozen=True)
class PathX256(Pathfinder64):
    """LRA's pathfinder256."""

    resolution: int = 256
    paddle_thickness: float = 2
    paddle_margins: tuple[int, ...] = (3,)
    seed_distance: int = 27
    padding: int = 22
    marker_radius: float = 5
    distractor_paddles: int = 30
    snake_contrast: float = 1.0
    chunk: int = 100


def deal(spec: Pathfinder, blocks: Any) -> Blocks:
    """Blocks of (images [n, resolution, resolution], labels [n]) as examples of the splits, by position.

    An image whose label is negative counts as a position and is left out.
    """
    ends = dict(zip(SPLITS, itertools.accumulate(spec.sizes.values())))
    position = 0
    for images, labels in blocks:
        for split, end in ends.items():
            start = end - spec.sizes[split]
            part = slice(max(0, start - position), max(0, end - position))
            kept = labels[part].astype(np.int32) >= 0
            if kept.any():
                inputs = images[part][kept].reshape(-1, spec.max_length)
                lengths = np.full(len(inputs), spec.max_length, np.int32)
                yield split, Split(inputs, lengths, labels[part][kept].astype(np.int32))
        position += len(labels)


make_task = partial(
    Task,
    version="1.0.0",
    classes=("two contours", "one contour"),
    vocab_size=256,
    citation="Linsley et al. 2018 (arXiv 1805.08315); Kim et al. 2020; Tay et al. 2021 (arXiv 2011.04006)",
    licence="generated here (Apache-2.0)",
    show=as_characters,
    published=pathfinder_files.PUBLISHED,
    picture=True,
)
PATHFINDER = make_task(
    "pathfinder",
    summary="are two marks on one dashed contour? 32 x 32 grey levels",
    source=Pathfinder,
    data_sha256="dd9ec577d18143ff63555e329c83fd93de24d835c0cdc24a29f6a030a2c27932",
)
PATHFINDER64 = make_task(
    "pathfinder64",
    summary="Pathfinder at 64 x 64",
    source=Pathfinder64,
    data_sha256="be807f77c5bff01360b9e413cec0702494c152d6c3c4c025afbbd3bc0a495be8",
)
PATHX = make_task(
    "pathx",
    summary="Pathfinder at 128 x 128",
    source=PathX,
    data_sha256="e380dc9487934e5af611bfcc6c6fb01ca77e9350784dcf8ccbac2f62ef410850",
    unlearnt=0.5,  # as the literature counts it
)
PATHX256 = make_task(
    "pathx256",
    summary="Pathfinder at 256 x 256",
    source=PathX256,
    data_sha256="a3073000f1653df146e6d2a546742c345bc2ea3578ad0627ddffdb41efb347d2",
)
