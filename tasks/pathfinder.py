"""Pathfinder: are two marked tips the ends of one dashed contour, or of two?

Each image shows two long contours of short paddles, shorter distractor contours, and two discs: on both ends
of one long contour (label 1), or on one end of each (label 0). The law is that of the generator of the Long
Range Arena (Linsley et al., 2018; github.com/drewlinsley/pathfinder), quirks included; this is an independent
implementation.

Images come in chunks, each a pure function of the parameters and of its index, so the number of processes
does not matter. The same bits on every machine: raw words of Philox decide everything, and between them and
the pixels there are only integers, and tables that are the same everywhere (see pathfinder_shapes).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lra.tasks.parallel import parallel
from lra.tasks.pathfinder_shapes import DEGREES, TAKEN, Bools, Bytes, Greys, Ints, Paddles

CONTOUR_LENGTHS = {"easy": 6, "intermediate": 9, "hard": 14}
FOLDERS = {6: "curv_baseline", 9: "curv_contour_length_9", 14: "curv_contour_length_14"}
LRA: dict[int, dict[str, Any]] = {  # where they differ from the defaults below
    32: dict(),
    64: dict(paddle_length=5, paddle_thickness=1, seed_distance=12, marker_radius=2.5, continuity=1.8,
             distractor_paddles=22, snake_contrast=0.8, paddle_contrast=1.0),
    128: dict(paddle_length=5, paddle_thickness=1.5, paddle_margins=(2, 3), seed_distance=20,
              marker_radius=3, continuity=1.8, distractor_paddles=35, snake_contrast=0.9,
              paddle_contrast=1.0),
    256: dict(paddle_length=5, paddle_thickness=2, paddle_margins=(3,), seed_distance=27, padding=22,
              marker_radius=5, continuity=1.8, distractor_paddles=30, snake_contrast=1.0, paddle_contrast=1.0,
              chunk=100),
}  # fmt: skip

PADDLE_TRIES, DISTRACTOR_TRIES = 3, 5


@dataclass(frozen=True)
class Pathfinder:
    """A Pathfinder data set. The defaults are LRA's pathfinder32, hard; `Pathfinder.lra` knows the others."""

    resolution: int = 32
    contour_length: int = 14  # paddles of each of the two long contours
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
        reach = self.paddle_length + max(self.paddle_margins)
        if self.contour_length < 3 or self.padding < 1:
            raise ValueError("A contour has 3 paddles or more, and the border 1 pixel or more.")
        if not reach + 2 <= self.seed_distance < self.resolution / 4:
            raise ValueError("With this seed_distance the first paddles may not lie in the image.")
        if self.antialias * self.paddle_thickness % 1:
            raise ValueError("antialias * paddle_thickness is not a whole number of pixels.")

    @classmethod
    def lra(cls, resolution: int = 32, difficulty: str = "hard", **changes: Any) -> "Pathfinder":
        lra = dict(LRA[resolution], resolution=resolution, contour_length=CONTOUR_LENGTHS[difficulty])
        return cls(**lra | changes)

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

    @property
    def splits(self) -> dict[str, range]:
        """The positions of the images of each split; chunk i holds those from i * chunk on."""
        first, second = self.train, self.train + self.validation
        return dict(train=range(first), validation=range(first, second), test=range(second, second + self.test))


class Chunk(NamedTuple):
    images: Bytes  # [n, resolution, resolution]
    labels: Bytes  # [n]
    margins: Bytes  # [n], of the paddles of each image


class Words:
    """Random integers from Philox's raw words, which, unlike `Generator`'s methods, NumPy never changes."""

    def __init__(self, seed: int, index: int):
        self.philox = np.random.Philox(key=seed, counter=[0, 0, index, 0])

    def below(self, bounds: ArrayLike, shape: int | tuple[int, ...] | None = None) -> Ints:
        """Integers from 0 to below the bounds (under 2**32): one for each bound, or a `shape` of them."""
        bounds = np.asarray(bounds, np.uint64)
        high = self.philox.random_raw(bounds.shape if shape is None else shape) >> np.uint64(32)
        return (high * bounds >> np.uint64(32)).astype(np.int64)


class Canvases:
    """What the paddles of n images leave free.

    mask: [n, area], the maximum of the paddles' masks.
    room: [n, area], 255 less the mask dilated by the margin.
    """

    def __init__(self, paddles: Paddles, mask: Bytes, room: Bytes):
        self.paddles, self.mask, self.room = paddles, mask, room

    @classmethod
    def empty(cls, paddles: Paddles, n: int) -> "Canvases":
        return cls(paddles, *(np.broadcast_to(c, (n, len(c))).copy() for c in (paddles.mask, paddles.room)))

    def add(self, images: Ints, places: Ints, kinds: Ints) -> None:
        """One more paddle in each of the images."""
        at = (images * self.mask.shape[1] + places)[:, None]
        mask, masks = self.mask.reshape(-1), self.paddles.masks
        pixels = at + masks.offsets[kinds]
        mask[pixels] = np.maximum(mask.take(pixels), masks.values[kinds])
        room, rooms = self.room.reshape(-1), self.paddles.rooms
        pixels = at + rooms.offsets[kinds]
        room[pixels] = np.minimum(room.take(pixels), 255 - rooms.values[kinds])

    def start(self, images: Ints, words: Words) -> tuple[Bools, Ints, Ints]:
        """The first paddle of a contour in each image: (whether there is one, places, kinds)."""
        paddles, n = self.paddles, len(images)
        found, places, kinds = np.zeros(n, bool), np.zeros(n, np.int64), np.zeros(n, np.int64)
        left = np.arange(n)
        for _ in range(PADDLE_TRIES):
            kinds[left] = words.below(DEGREES, len(left))
            left = left[paddles.usable[kinds[left]]]
            taken = ((self.mask[image] > TAKEN) & paddles.inside for image in images[left])
            tails = [paddles.free_tails(t, kind) for t, kind in zip(taken, kinds[left], strict=True)]
            left, tails = left[[len(t) > 0 for t in tails]], [t for t in tails if len(t)]
            places[left] = [t[i] for t, i in zip(tails, words.below([len(t) for t in tails]), strict=True)]
            found[left] = paddles.first_fits(places[left], kinds[left])
            left = left[~found[left]]
        return found, places, kinds

    def extend(self, images: Ints, pivots: Ints, kinds: Ints, words: Words) -> tuple[Bools, Ints, Ints, Ints]:
        """The next paddle of a contour in each image: (whether there is one, pivots, places, kinds)."""
        paddles, mask, area = self.paddles, self.mask.reshape(-1), self.mask.shape[1]
        pivots = paddles.hop(pivots, kinds)
        circles = (images * area + pivots)[:, None] + paddles.circle
        sums = np.cumsum(paddles.weights[kinds] * self.room.reshape(-1).take(circles), axis=1)
        picks, found = np.zeros(len(images), np.int64), np.zeros(len(images), bool)
        left = np.flatnonzero(sums[:, -1] >= paddles.least_weight)
        for _ in range(PADDLE_TRIES):
            picks[left] = pick = (sums[left] <= words.below(sums[left, -1])[:, None]).sum(1)
            pixels = circles[left, pick][:, None] + paddles.cores.offsets[pick]
            found[left] = free = ~(mask.take(pixels) > paddles.cores.values[pick]).any(1)
            left = left[~free]
        return found, pivots, pivots + paddles.circle[picks], DEGREES + picks


def start_pairs(paddles: Paddles, n: int, words: Words) -> tuple[Ints, Ints, Ints]:
    """The first paddles of n pairs of long contours: (places, kinds, pivots), [n, 2]."""
    kind = paddles.starts[words.below(len(paddles.starts), n)]
    tail = paddles.box_start[:, kind] + words.below(paddles.box_size[:, kind])
    way, other_kind = words.below(DEGREES, (2, n))
    tails = np.stack([tail, np.rint(tail + paddles.around[:, way]).astype(np.int64)], axis=2) + paddles.border
    places, kinds = tails[0] * paddles.width + tails[1], np.stack([kind, other_kind], axis=1)
    return places, kinds, paddles.first_pivot(places, kinds)


def long_contours(paddles: Paddles, length: int, n: int, words: Words) -> tuple[Ints, Ints]:
    """n pairs of contours: (places, kinds) of their paddles, [n, 2 * length], the two contours in turn.

    A pair that cannot grow is dropped. Pairs are independent, and all that get through take equally many
    steps, so the first n to end are as good a sample as any.
    """
    side_by_side = max(16, min(512, 2**23 // paddles.mask.size))  # few enough for the processor's caches
    canvases = Canvases.empty(paddles, side_by_side)
    pivots, places, kinds = (np.zeros((side_by_side, k), np.int64) for k in (2, 2 * length, 2 * length))
    turn, growing = np.zeros(side_by_side, np.int64), np.zeros(side_by_side, bool)
    ended, missing = [], n
    while missing > 0:
        if growing.sum() <= side_by_side / 2:
            new = np.flatnonzero(~growing)
            canvases.mask[new], canvases.room[new] = paddles.mask, paddles.room
            places[new, :2], kinds[new, :2], pivots[new] = start_pairs(paddles, len(new), words)
            turn[new], growing[new] = 2, True
        lanes = np.flatnonzero(growing)
        now, contour, before = (lanes, turn[lanes]), (lanes, turn[lanes] % 2), (lanes, turn[lanes] - 2)
        found, pivots[contour], places[now], kinds[now] = canvases.extend(lanes, pivots[contour], kinds[before], words)
        # A paddle blocks only those after the next one, so that neighbours may touch.
        canvases.add(lanes[found], places[before][found], kinds[before][found])
        turn[lanes] += 1
        growing[lanes] = found & (turn[lanes] < 2 * length)
        end = lanes[found & ~growing[lanes]]
        if len(end):
            ended.append((places[end], kinds[end]))
            missing -= len(end)
    places, kinds = (np.concatenate(e)[:n] for e in zip(*ended, strict=True))
    return places, kinds


def short_contours(canvases: Canvases, number: int, length: int, words: Words) -> tuple[Ints, Ints]:
    """Distractors around what is there: (places, kinds), [n, number, length]; -1 where one is missing."""
    paddles, n = canvases.paddles, len(canvases.mask)
    places, kinds = (np.full((n, number, length), -1) for _ in range(2))
    for i in range(number):
        missing = np.ones(n, bool)
        for _ in range(DISTRACTOR_TRIES):
            images = np.flatnonzero(missing)
            found, *first = canvases.start(images, words)
            images, lanes = images[found], np.arange(found.sum())
            trial = Canvases(paddles, canvases.mask[images], canvases.room[images])
            place, kind = (np.zeros((len(images), length), np.int64) for _ in range(2))
            place[:, 0], kind[:, 0] = (values[found] for values in first)
            pivot = paddles.first_pivot(place[:, 0], kind[:, 0])
            for j in range(1, length):
                found, pivot, place[lanes, j], kind[lanes, j] = trial.extend(lanes, pivot, kind[lanes, j - 1], words)
                lanes, pivot = lanes[found], pivot[found]
                trial.add(lanes, place[lanes, j - 1], kind[lanes, j - 1])
            trial.add(lanes, place[lanes, -1], kind[lanes, -1])
            done = images[lanes]
            canvases.mask[done], canvases.room[done] = trial.mask[lanes], trial.room[lanes]
            places[done, i], kinds[done, i], missing[done] = place[lanes], kind[lanes], False
    return places, kinds


@lru_cache(maxsize=8)
def tables(spec: Pathfinder, margin: int) -> tuple[Paddles, Greys]:
    return Paddles(spec, margin), Greys(spec)


def draw_images(spec: Pathfinder, margin: int, labels: Bytes, words: Words) -> Bytes:
    """[n, resolution, resolution]: images with these labels, and paddles of this margin."""
    (paddles, greys), n, length = tables(spec, margin), len(labels), spec.contour_length
    images, border, width = np.arange(n), paddles.border, paddles.width
    canvas = np.zeros((n, width, width), np.uint16)

    def paint(images: Ints, places: Ints, offsets: Ints, ranks: NDArray[np.uint16]) -> None:
        pixels, flat = (images * width**2 + places)[:, None] + offsets, canvas.reshape(-1)
        flat[pixels] = np.maximum(flat.take(pixels), ranks)

    places, kinds = long_contours(paddles, length, n, words)
    canvases = Canvases.empty(paddles, n)
    for j, (place, kind) in enumerate(zip(places.T, kinds.T, strict=True)):
        paint(images, place, paddles.inks.offsets[kind], greys.contour[paddles.inks.values[kind]])
        if j != 2 * length - 2:  # the original forgets to block the last paddle of the first contour
            canvases.add(images, place, kind)
    short = short_contours(canvases, spec.distractors, spec.distractor_length, words)
    for place, kind in zip(*(s.reshape(n, -1).T for s in short), strict=True):
        there = np.flatnonzero(kind >= 0)
        inks = paddles.inks.offsets[kind[there]], greys.distractor[paddles.inks.values[kind[there]]]
        paint(there, place[there], *inks)

    first = words.below(2, n)
    last = np.where(labels == 1, first, 1 - first)
    around = np.arange(-greys.reach, greys.reach + 1)
    for tip in (places[images, first], places[images, 2 * length - 2 + last]):
        discs = greys.discs_at(tip // width - border, tip % width - border)
        paint(images, tip, np.add.outer(around * width, around).ravel(), greys.marker[discs])
    return greys.shades(canvas[:, border:-border, border:-border])


def draw_chunk(spec: Pathfinder, index: int) -> Chunk:
    """The images at positions index * chunk to (index + 1) * chunk - 1 of the data set."""
    words = Words(spec.seed, index)
    labels = words.below(2, spec.chunk).astype(np.uint8)
    margins = np.array(spec.paddle_margins, np.uint8)[words.below(len(spec.paddle_margins), spec.chunk)]
    images = np.zeros((spec.chunk, spec.resolution, spec.resolution), np.uint8)
    for margin in np.unique(margins).tolist():
        images[margins == margin] = draw_images(spec, margin, labels[margins == margin], words)
    return Chunk(images, labels, margins)


def draw_chunks(spec: Pathfinder, indices: Iterable[int], processes: int = 1) -> Iterator[Chunk]:
    """The chunks of these indices, in their order."""
    return parallel(partial(draw_chunk, spec), indices, processes)


def metadata(spec: Pathfinder, index: int, chunk: Chunk) -> list[str]:
    """LRA's line of text about each image of a chunk."""
    contours = f"{spec.continuity} {spec.contour_length} {spec.distractor_length}"
    paddles = f"{spec.paddle_length} {spec.paddle_thickness}"
    return [
        f"imgs/{index} sample_{i}.png {i} {label} {contours} {paddles} {margin} 1\n"
        for i, (label, margin) in enumerate(zip(chunk.labels, chunk.margins, strict=True))
    ]


def write_batch(spec: Pathfinder, root: Path, count: int, index: int) -> None:
    """Writes a chunk as LRA does, up to position `count` of the data set."""
    from PIL import Image

    chunk = draw_chunk(spec, index)
    lines = metadata(spec, index, chunk)[: count - index * spec.chunk]
    folder = root / "imgs" / str(index)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(len(lines)):
        Image.fromarray(chunk.images[i]).save(folder / f"sample_{i}.png")
    (root / "metadata" / f"{index}.npy").write_text("".join(lines))


def write_lra_folder(spec: Pathfinder, folder: str | Path, count: int = 0, processes: int = 1) -> Path:
    """Writes the first `count` images, or all, as LRA does, a batch a chunk; returns where they are.

    That is <folder>/pathfinder<resolution>/<level>. It holds the images, imgs/<batch>/sample_<i>.png, and
    what is to be known of them, metadata/<batch>.npy, which, like LRA's, is plain text in spite of its name.
    """
    level = FOLDERS.get(spec.contour_length, f"curv_contour_length_{spec.contour_length}")
    root = Path(folder) / f"pathfinder{spec.resolution}" / level
    (root / "metadata").mkdir(parents=True, exist_ok=True)
    count = count or spec.train + spec.validation + spec.test
    batches = range(-(-count // spec.chunk))
    for _ in parallel(partial(write_batch, spec, root, count), batches, processes):
        pass
    return root
