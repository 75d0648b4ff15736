"""The paddles and markers of Pathfinder's images, as tables that the generator looks up.

The tables are the same on every computer. They are filled by sums, products and correctly rounded sines, or rounded to
steps far coarser than the differences between mathematics libraries.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lra.errors import UsageError
from lra.tasks.pathfinder.law import Law

Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DEGREES = 360
UNIT = 2**16  # unit of the weights of a next paddle's directions
TAKEN = 76  # a mask above 0.3 of 255 is taken for a contour's first paddle
CLASH = 459  # two masks that add up to 1.8 of 255 clash


def sine(angle: float, cosine: bool = False) -> float:
    """sin or cos of a double, correctly rounded. A ceiling can turn its last bit into a pixel, and libraries differ in
    that bit.
    """
    one = 1 << 200
    x = int(Fraction(angle) * one)
    term, total, n = (one, 0, 0) if cosine else (x, 0, 1)
    while term:
        total, n = total + term, n + 2
        term = int(Fraction(-term * x * x, n * (n - 1) << 400))
    return total / one


def directions(angles: list[float]) -> Floats:
    """[2, angles, 1]: the displacements (y, x) of length 1."""
    return np.array([[sine(a) for a in angles], [sine(a, cosine=True) for a in angles]])[:, :, None]


def reverse(angle: float) -> float:
    return angle + math.pi if angle < 0 else angle - math.pi


def half_up(value: float) -> int:
    """The nearest integer, halves away from zero."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def half_down(value: float) -> int:
    """The nearest integer, halves towards zero."""
    return int(math.copysign(math.ceil(abs(value) - 0.5), value))


def draw_line(size: int, dy: int, dx: int, width: int) -> Bytes:
    """[size, size]: a line from the centre to (dy, dx) off it. Its pixels are those of Pillow's `ImageDraw.line`."""
    image = np.zeros((size, size), np.uint8)
    start, steps = size // 2, max(abs(dy), abs(dx))
    if width == 1:
        for i in range(steps + 1):
            image[start + half_up(i * dy / steps), start + half_up(i * dx / steps)] = 255
        return image
    wide, narrow = (rounded((width - 1) / 2) / math.hypot(dy, dx) for rounded in (half_up, half_down))
    left, right = half_down(narrow * dy), half_down(wide * dy)
    top, bottom = half_up(wide * dx), half_up(narrow * dx)
    end_y, end_x = start + dy, start + dx
    corners = [(start + top, start - left), (end_y + top, end_x - left)]
    corners += [(end_y - bottom, end_x + right), (start - bottom, start + right)]
    for y in range(min(corners)[0], max(corners)[0] + 1):
        xs: list[float] = []
        for (ya, xa), (yb, xb) in zip(corners, corners[1:] + corners[:1], strict=True):
            if ya == yb == y:
                xs += [xa, xb]
            elif ya != yb and min(ya, yb) <= y <= max(ya, yb):
                xs.append(xa + (y - ya) * (xb - xa) / (yb - ya))
        image[y, half_up(min(xs)) : half_down(max(xs)) + 1] = 255
    return image


def disc(radius: float) -> Bools:
    y, x = np.ogrid[-math.ceil(radius) : math.ceil(radius) + 1, -math.ceil(radius) : math.ceil(radius) + 1]
    return x * x + y * y <= radius * radius


def dilate(image: Bytes, radius: int) -> Bytes:
    size, padded = len(image), np.pad(image, radius)
    return np.max([padded[y : y + size, x : x + size] for y, x in np.argwhere(disc(radius))], axis=0)


@lru_cache
def lanczos(old: int, new: int) -> Ints:
    """[new, old]: the weights of Pillow's Lanczos resampling of bytes, in units of 2**-22."""
    weights, scale = np.zeros((new, old)), old / new
    for i in range(new):
        centre = (i + 0.5) * scale
        for j in range(max(0, int(centre - 3 * scale + 0.5)), min(old, int(centre + 3 * scale + 0.5))):
            t = math.pi * (j + 0.5 - centre) / scale
            weights[i, j] = math.sin(t) * math.sin(t / 3) / (t * t / 3) if t else 1
    weights *= 2**22 / weights.sum(1, keepdims=True)
    return np.trunc(weights + np.copysign(0.5, weights)).astype(np.int64)


def shrink(image: Bytes, size: int) -> Bytes:
    """[size, size]: a square image resampled as Pillow does it, first along the rows, with rounding to bytes, then
    along the columns.
    """
    weights = lanczos(len(image), size)
    rows = np.clip(image @ weights.T + 2**21 >> 22, 0, 255)
    return np.clip(weights @ rows + 2**21 >> 22, 0, 255).astype(np.uint8)


class Stamps(NamedTuple):
    """The pixels that matter in a stack of small images, in lists of one length."""

    offsets: Ints  # [stamps, pixels], in a flat canvas
    values: Bytes  # [stamps, pixels]


def stamps(images: Bytes, width: int, least: int = 1) -> Stamps:
    """The pixels of [k, s, s] images that reach `least`. Other pixels, each once, fill up the shorter lists."""
    half = images.shape[1] // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1].reshape(2, -1)
    flat = images.reshape(len(images), -1)
    order = np.argsort(-flat.astype(int), axis=1, kind="stable")[:, : (flat >= least).sum(1).max()]
    return Stamps((y * width + x)[order], np.take_along_axis(flat, order, 1))


class Moves(NamedTuple):
    """The targets of displacements: the law's ceilings of y + d sin(a), which depend on the rounding of the sum."""

    rows: Ints  # [kinds, width], times the width
    columns: Ints  # [kinds, width]

    def __call__(self, places: Ints, kinds: Ints) -> Ints:
        y, x = np.divmod(places, self.rows.shape[1])
        return self.rows[kinds, y] + self.columns[kinds, x]


class Paddles:
    """The tables for paddles of one margin.

    A place is a flat index into a canvas: the image, within a border wide enough for all that is looked up around it.
    The kind of a paddle gives its orientation. Kinds 0..359 are first paddles of a contour: they are drawn from their
    place, the tail, at kind - 180 degrees. Kind 360 + k leads to the k-th pixel of a circle around its pivot. That
    pixel is its place, the head, from which it is drawn backwards.
    """

    def __init__(self, law: Law, margin: int):
        size, length, fine = law.resolution, law.paddle_length, law.antialias
        step, reach = length + margin, length + math.ceil(law.paddle_thickness) + margin
        self.border = border = max(2 * step + margin + 2, reach + margin, math.ceil(law.marker_radius) + 3)
        self.width = width = size + 2 * border
        frame = np.pad(np.zeros((size - 2 * law.padding,) * 2, np.uint8), law.padding, constant_values=255)
        self.inside = np.pad(np.ones((size, size), bool), border).ravel()
        self.mask = np.pad(frame, border).ravel()
        self.room = np.pad(255 - dilate(frame, margin), border).ravel()  # see Canvases

        # The circle of heads. The original truncates coordinates, after it has dropped the negative ones.
        turns = [k / step for k in range(math.ceil(2 * math.pi * step))]
        circle = sorted({(math.floor(step * math.sin(t)), math.floor(step * math.cos(t))) for t in turns})
        self.circle = np.array([y * width + x for y, x in circle])
        angles = [d * math.pi / 180 for d in range(-180, 180)] + [math.atan2(y, x) for y, x in circle]
        bends = np.abs(np.subtract.outer(angles, angles[DEGREES:]))
        bends = np.minimum(law.continuity * np.minimum(bends, 2 * math.pi - bends), math.pi / 2)
        self.weights = np.rint(UNIT * np.cos(bends) ** 2).astype(np.int64)  # [kinds, heads]
        self.least_weight = math.ceil(1e-4 * UNIT * 255)

        coordinates = np.arange(width) - border
        ways, backs = directions(angles), directions([reverse(a) for a in angles])
        self.hop = self.moves(np.ceil(coordinates + (step + margin) * ways))
        heads = np.ceil(coordinates + length * ways[:, :DEGREES])
        pivots = np.ceil(heads + step * backs[:, :DEGREES])
        self.first_pivot = self.moves(pivots)
        self.fit = np.all([(c >= 0) & (c < size) for c in (heads, pivots)], axis=0)  # [2, degrees, width]

        strokes = np.concatenate([ways[:, :DEGREES], backs[:, DEGREES:]], axis=1)[:, :, 0]
        ends = (np.ceil(reach * fine + length * fine * strokes).astype(int) - reach * fine).T.tolist()
        stroke = round(law.paddle_thickness * fine)
        lines = {(y, x): draw_line(2 * reach * fine + 1, y, x, stroke) for y, x in ends}
        inks = {end: shrink(line, 2 * reach + 1) for end, line in lines.items()}
        fields = {end: shrink(dilate(line, margin * fine), 2 * reach + 1) for end, line in lines.items()}
        masks = np.stack([fields[y, x] for y, x in ends])
        self.inks = stamps(np.stack([inks[y, x] for y, x in ends]), width)
        self.masks = stamps(masks, width)
        self.rooms = stamps(np.stack([dilate(np.pad(m, margin), margin) for m in masks]), width)
        core = stamps(masks[DEGREES:], width, least=CLASH - 255)
        most = np.minimum(CLASH - 1 - core.values.astype(int), 255)  # highest value of another mask without a clash
        self.cores = Stamps(core.offsets, most.astype(np.uint8))
        if (1 + law.crowd) * (masks > TAKEN).sum((1, 2)).max() > (frame == 0).sum() - 0.01 * size**2:
            raise UsageError("so many paddles could fill 99 % of the image, where the law of Pathfinder would end")

        # A first paddle takes the pixels that its mask fills; the original moves them by one pixel both ways.
        # Where all of these can leave the image at once, the original's dilation has no number, and it gives up.
        # The first long contour starts in the middle of the image, and the tails that do so fill a box.
        self.footprints, self.usable = [], np.zeros(DEGREES, bool)
        self.box_start, self.box_size = np.zeros((2, DEGREES), np.int64), np.zeros((2, DEGREES), np.int64)
        for degree, m in enumerate(masks[:DEGREES]):
            pixels = np.argwhere(m == 255) - reach + 1
            y, x = pixels = pixels[(abs(pixels) <= step).all(1)].T
            self.footprints.append((y * width + x).tolist())
            self.usable[degree] = all(((a * y >= 0) & (b * x >= 0)).any() for a in (1, -1) for b in (1, -1))
            self.box_start[:, degree] = 2 * law.seed_distance - pixels.min(1)
            self.box_size[:, degree] = size - 4 * law.seed_distance - np.ptp(pixels, axis=1)
        self.starts = np.flatnonzero(self.usable & (self.box_size > 0).all(0))
        if not len(self.starts):
            raise UsageError("no first paddle lies in the middle of the image; lower seed_distance or raise resolution")
        self.around = law.seed_distance * ways[:, :DEGREES, 0]

    def moves(self, targets: Floats) -> Moves:
        rows, columns = np.clip(targets + self.border, 0, self.width - 1).astype(np.int64)
        return Moves(rows * self.width, columns)

    def first_fits(self, places: Ints, degrees: Ints) -> Bools:
        """Whether first paddles at these places have their heads and pivots in the image."""
        y, x = np.divmod(places, self.width)
        return self.fit[0, degrees, y] & self.fit[1, degrees, x]

    def free_tails(self, taken: Bools, degree: int) -> Ints:
        """The places in the image where a first paddle at this angle meets nothing that is taken, of `taken` [area]."""
        # The canvas is one long integer here: a shift moves all of it, and its border takes what leaves the image.
        board = int.from_bytes(np.packbits(taken, bitorder="little").tobytes(), "little")
        blocked = 0
        for offset in self.footprints[degree]:
            blocked |= board >> offset if offset >= 0 else board << -offset
        blocked &= (1 << len(taken)) - 1
        bits = np.frombuffer(blocked.to_bytes(-(-len(taken) // 8), "little"), np.uint8)
        return np.flatnonzero(np.unpackbits(bits, count=len(taken), bitorder="little") < self.inside)


class Greys:
    """The grey levels of pixels, and the markers. An image is a maximum of shapes, and so of the ranks of
    their levels.
    """

    def __init__(self, law: Law):
        byte = np.arange(256) / 255
        # The original has paddles, but not markers, in single precision, which decides ties of the rounding.
        contour = np.float32(byte * (law.paddle_contrast * law.snake_contrast)).astype(float)
        distractor = np.float32(byte * law.snake_contrast).astype(float)
        values = byte, contour, distractor
        self.levels = np.unique(np.concatenate(values))
        self.marker, self.contour, self.distractor = (np.searchsorted(self.levels, v).astype(np.uint16) for v in values)
        # Resampling treats the border of an image differently, so the disc is drawn at every place of a small image.
        self.resolution, self.reach, fine = law.resolution, math.ceil(law.marker_radius) + 3, law.antialias
        self.size, side = 4 * self.reach + 1, 2 * self.reach + 1
        shape = 255 * disc(law.marker_radius * fine).astype(np.uint8)
        half, extent = len(shape) // 2, fine * self.size
        self.discs = np.zeros((self.size, self.size, side, side), np.uint8)
        for y, x in np.ndindex(self.size, self.size):
            canvas = np.zeros((extent + 2 * half,) * 2, np.uint8)
            canvas[fine * y :, fine * x :][: len(shape), : len(shape)] = shape
            small = shrink(canvas[half : half + extent, half : half + extent], self.size)
            self.discs[y, x] = np.pad(small, self.reach)[y : y + side, x : x + side]

    def discs_at(self, y: Ints, x: Ints) -> Bytes:
        """[n, pixels]: the markers around these pixels, out to `reach`."""
        y, x = (np.minimum(c, np.maximum(2 * self.reach, c - self.resolution + self.size)) for c in (y, x))
        return self.discs[y, x].reshape(len(y), -1)

    def shades(self, ranks: NDArray[np.uint16]) -> Bytes:
        """[n, height, width]: images scaled to make the brightest pixel of each 255."""
        scale = 255 / self.levels[ranks.max((1, 2))][:, None]
        shades = (np.minimum(self.levels * scale, 255) + 0.5).astype(np.uint8)  # [n, levels]
        return shades[np.arange(len(ranks))[:, None, None], ranks]
