"""Pathfinder's images: contours that grow paddle by paddle, distractors around them, and two markers.

Images come in chunks. Each chunk is a pure function of the parameters and of its index, so the number of processes does
not matter. The bits are the same on every computer: raw words of Philox decide everything, and between them and the
pixels there are only integers, and tables that are the same everywhere (see shapes.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lra.tasks.pathfinder.law import Law
from lra.tasks.pathfinder.shapes import DEGREES, TAKEN, Bools, Bytes, Greys, Ints, Paddles
from lra.tasks.words import Words
from lra.workers import in_order

PADDLE_TRIES, DISTRACTOR_TRIES = 3, 5


class Chunk(NamedTuple):
    images: Bytes  # [n, resolution, resolution]
    labels: Bytes  # [n]
    margins: Bytes  # [n], of the paddles of each image


class Canvases:
    """What the paddles of n images leave free.

    Attributes:
      mask: [n, area], the maximum of the paddles' masks.
      room: [n, area], 255 less the mask dilated by the margin.
    """

    def __init__(self, paddles: Paddles, mask: Bytes, room: Bytes):
        self.paddles, self.mask, self.room = paddles, mask, room

    @classmethod
    def empty(cls, paddles: Paddles, n: int) -> Canvases:
        return cls(paddles, *(np.broadcast_to(c, (n, len(c))).copy() for c in (paddles.mask, paddles.room)))

    def add(self, images: Ints, places: Ints, kinds: Ints) -> None:
        """Adds one more paddle to each of the images."""
        at = (images * self.mask.shape[1] + places)[:, None]
        mask, masks = self.mask.reshape(-1), self.paddles.masks
        pixels = at + masks.offsets[kinds]
        mask[pixels] = np.maximum(mask.take(pixels), masks.values[kinds])
        room, rooms = self.room.reshape(-1), self.paddles.rooms
        pixels = at + rooms.offsets[kinds]
        room[pixels] = np.minimum(room.take(pixels), 255 - rooms.values[kinds])

    def start(self, images: Ints, words: Words) -> tuple[Bools, Ints, Ints]:
        """The first paddle of a contour in each image: (whether it fits, places, kinds)."""
        paddles, n = self.paddles, len(images)
        fits, places, kinds = np.zeros(n, bool), np.zeros(n, np.int64), np.zeros(n, np.int64)
        left = np.arange(n)
        for _ in range(PADDLE_TRIES):
            kinds[left] = words.below(DEGREES, len(left))
            left = left[paddles.usable[kinds[left]]]
            taken = ((self.mask[image] > TAKEN) & paddles.inside for image in images[left])
            tails = [paddles.free_tails(t, kind) for t, kind in zip(taken, kinds[left], strict=True)]
            left, tails = left[[len(t) > 0 for t in tails]], [t for t in tails if len(t)]
            places[left] = [t[i] for t, i in zip(tails, words.below([len(t) for t in tails]), strict=True)]
            fits[left] = paddles.first_fits(places[left], kinds[left])
            left = left[~fits[left]]
        return fits, places, kinds

    def extend(self, images: Ints, pivots: Ints, kinds: Ints, words: Words) -> tuple[Bools, Ints, Ints, Ints]:
        """The next paddle of a contour in each image: (whether it fits, pivots, places, kinds)."""
        paddles, mask, area = self.paddles, self.mask.reshape(-1), self.mask.shape[1]
        pivots = paddles.hop(pivots, kinds)
        circles = (images * area + pivots)[:, None] + paddles.circle
        sums = np.cumsum(paddles.weights[kinds] * self.room.reshape(-1).take(circles), axis=1)
        picks, fits = np.zeros(len(images), np.int64), np.zeros(len(images), bool)
        left = np.flatnonzero(sums[:, -1] >= paddles.least_weight)
        for _ in range(PADDLE_TRIES):
            picks[left] = pick = (sums[left] <= words.below(sums[left, -1])[:, None]).sum(1)
            pixels = circles[left, pick][:, None] + paddles.cores.offsets[pick]
            fits[left] = free = ~(mask.take(pixels) > paddles.cores.values[pick]).any(1)
            left = left[~free]
        return fits, pivots, pivots + paddles.circle[picks], DEGREES + picks


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
        fits, pivots[contour], places[now], kinds[now] = canvases.extend(lanes, pivots[contour], kinds[before], words)
        # A paddle blocks only those after the next one, so that neighbours may touch.
        canvases.add(lanes[fits], places[before][fits], kinds[before][fits])
        turn[lanes] += 1
        growing[lanes] = fits & (turn[lanes] < 2 * length)
        end = lanes[fits & ~growing[lanes]]
        if len(end):
            ended.append((places[end], kinds[end]))
            missing -= len(end)
    places, kinds = (np.concatenate(e)[:n] for e in zip(*ended, strict=True))
    return places, kinds


def short_contours(canvases: Canvases, number: int, length: int, words: Words) -> tuple[Ints, Ints]:
    """Distractors around the paddles that are there: (places, kinds), [n, number, length]; -1 where one is missing."""
    paddles, n = canvases.paddles, len(canvases.mask)
    places, kinds = (np.full((n, number, length), -1) for _ in range(2))
    for i in range(number):
        missing = np.ones(n, bool)
        for _ in range(DISTRACTOR_TRIES):
            images = np.flatnonzero(missing)
            fits, *first = canvases.start(images, words)
            images, lanes = images[fits], np.arange(fits.sum())
            trial = Canvases(paddles, canvases.mask[images], canvases.room[images])
            place, kind = (np.zeros((len(images), length), np.int64) for _ in range(2))
            place[:, 0], kind[:, 0] = (values[fits] for values in first)
            pivot = paddles.first_pivot(place[:, 0], kind[:, 0])
            for j in range(1, length):
                fits, pivot, place[lanes, j], kind[lanes, j] = trial.extend(lanes, pivot, kind[lanes, j - 1], words)
                lanes, pivot = lanes[fits], pivot[fits]
                trial.add(lanes, place[lanes, j - 1], kind[lanes, j - 1])
            trial.add(lanes, place[lanes, -1], kind[lanes, -1])
            done = images[lanes]
            canvases.mask[done], canvases.room[done] = trial.mask[lanes], trial.room[lanes]
            places[done, i], kinds[done, i], missing[done] = place[lanes], kind[lanes], False
    return places, kinds


@lru_cache(maxsize=8)
def tables(law: Law, margin: int) -> tuple[Paddles, Greys]:
    return Paddles(law, margin), Greys(law)


def draw_images(law: Law, margin: int, labels: Bytes, words: Words) -> Bytes:
    """[n, resolution, resolution]: images with these labels, and paddles of this margin."""
    (paddles, greys), n, length = tables(law, margin), len(labels), law.contour_length
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
    short = short_contours(canvases, law.distractors, law.distractor_length, words)
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


def draw_chunk(law: Law, index: int) -> Chunk:
    """The images at positions index * chunk to (index + 1) * chunk - 1 of the data set."""
    words = Words(law.seed, index)
    labels = words.below(2, law.chunk).astype(np.uint8)
    margins = np.array(law.paddle_margins, np.uint8)[words.below(len(law.paddle_margins), law.chunk)]
    images = np.zeros((law.chunk, law.resolution, law.resolution), np.uint8)
    for margin in np.unique(margins).tolist():
        images[margins == margin] = draw_images(law, margin, labels[margins == margin], words)
    return Chunk(images, labels, margins)


def draw_chunks(law: Law, indices: Iterable[int], processes: int = 1) -> Iterator[Chunk]:
    """The chunks of these indices, in their order."""
    return in_order(partial(draw_chunk, law), indices, processes)
