"""The law of Pathfinder's images in plain code, one image at a time, for the tests of the generator.

It draws and resamples with Pillow, as the original does, and takes a hundred times longer than the generator.
"""

import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw


def translate(point, angle, distance):
    return [
        math.ceil(point[0] + distance * math.sin(angle)),
        math.ceil(point[1] + distance * math.cos(angle)),
    ]


def reverse(angle):
    return angle + math.pi if angle < 0 else angle - math.pi


def shrink(image, size):
    """As scipy.misc.imresize with interp="lanczos" for images of 0 and 255."""
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS)) / 255


def dilate(image, offsets, outside):
    """cv2.dilate: the maximum over the offsets that stay in the image, else `outside`."""
    (height, width), reach = image.shape, max(abs(c) for offset in offsets for c in offset)
    padded = np.pad(image, reach, constant_values=outside)
    return np.max([padded[reach + y :, reach + x :][:height, :width] for y, x in offsets], axis=0)


@lru_cache
def disc(radius):
    return [
        (y, x) for y in range(-radius, radius + 1) for x in range(-radius, radius + 1) if y * y + x * x <= radius**2
    ]


@lru_cache(maxsize=1000)
def paddle(spec, margin, angle):
    """The paddle and its mask, [2 * half + 1, 2 * half + 1], around its start."""
    fine, half = spec.antialias, spec.paddle_length + math.ceil(spec.paddle_thickness) + margin
    head = translate([half * fine, half * fine], angle, spec.paddle_length * fine)
    line = Image.new("F", (2 * half * fine + 1,) * 2, "black")
    ends = [(half * fine, half * fine), (head[1], head[0])]
    ImageDraw.Draw(line).line(ends, fill="white", width=round(spec.paddle_thickness * fine))
    line = np.asarray(line).astype(np.uint8)
    mask = dilate(line, disc(margin * fine), 0)
    return shrink(line, 2 * half + 1), shrink(mask, 2 * half + 1)


def paste(stamp, start, size):
    half, image = len(stamp) // 2, np.zeros((size, size), np.float32)
    top, left = max(0, start[0] - half), max(0, start[1] - half)
    part = stamp[top - start[0] + half :, left - start[1] + half :][: size - top, : size - left]
    image[top : top + part.shape[0], left : left + part.shape[1]] = part
    return image


def in_window(point, size):
    return 0 <= point[0] < size and 0 <= point[1] < size


class Contour:
    """A contour that grows in an image and a mask, both [size, size], which other contours may share."""

    def __init__(self, spec, margin, contrast, rng):
        self.spec, self.margin, self.contrast, self.rng = spec, margin, contrast, rng
        self.image = np.zeros((spec.resolution, spec.resolution))

    def put(self, start, angle):
        ink, mask = paddle(self.spec, self.margin, angle)
        self.image = np.maximum(self.image, paste(ink * self.contrast, start, self.spec.resolution))
        self.last_mask = paste(mask, start, self.spec.resolution)

    def place(self, tail, angle):
        """Places a first paddle, if its head and its pivot are in the window."""
        step = self.spec.paddle_length + self.margin
        head = translate(tail, angle, self.spec.paddle_length)
        pivot = translate(head, reverse(angle), step)
        if not (in_window(head, self.spec.resolution) and in_window(pivot, self.spec.resolution)):
            return False
        self.put(tail, angle)
        self.origin, self.pivot, self.angle = tail, pivot, angle
        return True

    def seed(self, mask, frame):
        step, size = self.spec.paddle_length + self.margin, self.spec.resolution
        for _ in range(3):
            angle = self.rng.integers(-180, 180) * math.pi / 180
            struct = paste(paddle(self.spec, self.margin, angle)[1], (step + 1, step + 1), 2 * step + 1)
            blocked = np.ones((size, size))
            blocked[frame:-frame, frame:-frame] = mask[frame:-frame, frame:-frame]
            blocked = dilate(blocked, [tuple(o) for o in np.argwhere(struct == 1) - step], -np.inf)
            free = np.argwhere(np.ceil(blocked - 0.3) == 0)
            if np.isneginf(blocked).any() or not len(free):
                return False
            if self.place(free[self.rng.integers(len(free))].tolist(), angle):
                return True
        return False

    def extend(self, mask):
        """The mask after one more paddle, or None."""
        spec, step, size = self.spec, self.spec.paddle_length + self.margin, self.spec.resolution
        pivot = translate(self.pivot, self.angle, step + self.margin)
        circle = np.arange(0, 360, 360 / (2 * math.pi * step)) * math.pi / 180
        points = np.stack([pivot[0] + step * np.sin(circle), pivot[1] + step * np.cos(circle)], 1)
        points = points[((points >= 0) & (points < size)).all(1)].astype(int)
        if not len(points):
            return None
        points = np.unique(points, axis=0)
        angles = np.arctan2(*(points - pivot).T)
        bends = np.abs(angles - self.angle)
        bends = np.minimum(bends, 2 * math.pi - bends)
        near = dilate(mask, disc(self.margin), 0)[points[:, 0], points[:, 1]]
        weights = np.cos(np.minimum(spec.continuity * bends, math.pi / 2)) ** 2 * (1 - near)
        if weights.sum() < 1e-4:
            return None
        for _ in range(3):
            pick = np.argmax(np.cumsum(weights / weights.sum()) > self.rng.random())
            head, angle, image, old = points[pick].tolist(), float(angles[pick]), self.image, self.last_mask
            self.put(head, reverse(angle))
            if (mask + self.last_mask).max() < 1.8:
                self.pivot, self.angle, self.end = pivot, angle, head
                return np.maximum(mask, old)
            self.image, self.last_mask = image, old
        return None


def two_contours(spec, margin, rng):
    """The two long contours and the mask, or None."""
    mask = np.ones((spec.resolution, spec.resolution))
    mask[spec.padding : -spec.padding, spec.padding : -spec.padding] = 0
    pair = [Contour(spec, margin, spec.paddle_contrast * spec.snake_contrast, rng) for _ in range(2)]
    if not pair[0].seed(mask, 2 * spec.seed_distance):
        return None
    for _ in range(3):
        angle, way = (rng.integers(-180, 180, 2) + np.array([0, 180])) * math.pi / 180
        away = spec.seed_distance * np.array([math.sin(way), math.cos(way)])
        if pair[1].place(np.round(pair[0].origin + away).astype(int).tolist(), float(angle)):
            break
    else:
        return None
    for _ in range(spec.contour_length - 1):
        for contour in pair:
            mask = contour.extend(mask)
            if mask is None:
                return None
    return pair, np.maximum(mask, pair[1].last_mask)


def distractor(spec, margin, mask, rng):
    """The image of a distractor and the mask with it, or None."""
    contour = Contour(spec, margin, spec.snake_contrast, rng)
    if (mask <= 0.3).mean() < 0.01 or not contour.seed(mask, 1):
        return None
    for _ in range(spec.distractor_length - 1):
        mask = contour.extend(mask)
        if mask is None:
            return None
    return contour.image, np.maximum(mask, contour.last_mask)


def literal_image(spec, rng):
    """(image, label), by the law."""
    label, margin = int(rng.integers(2)), int(rng.choice(spec.paddle_margins))
    drawn = None
    while drawn is None:
        drawn = two_contours(spec, margin, rng)
    pair, mask = drawn
    image = np.maximum(pair[0].image, pair[1].image)
    for _ in range(spec.distractors):
        for _ in range(5):
            drawn = distractor(spec, margin, mask, rng)
            if drawn is not None:
                image, mask = np.maximum(image, drawn[0]), drawn[1]
                break
    origin = rng.integers(2)
    fine = np.arange(spec.resolution * spec.antialias)
    for tip in (pair[origin].origin, pair[origin if label else 1 - origin].end):
        y, x = (fine - spec.antialias * c for c in tip)
        marker = np.where(y[:, None] ** 2 + x**2 <= (spec.marker_radius * spec.antialias) ** 2, 255, 0)
        image = np.maximum(image, shrink(marker.astype(np.uint8), spec.resolution))
    return (image * (255 / image.max()) + 0.5).clip(0, 255.5).astype(np.uint8), label


def literal_images(spec, n, seed=0):
    rng = np.random.default_rng(seed)
    images, labels = zip(*(literal_image(spec, rng) for _ in range(n)), strict=True)
    return np.array(images), np.array(labels)
