"""Tests of the Pathfinder generator, against its law in plain code and the statistics of the original."""

import hashlib
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from lra.errors import UsageError
from lra.tasks.pathfinder import Pathfinder, Pathfinder64, PathX, PathX256, drawing, shapes
from lra.tasks.pathfinder.drawing import draw_chunk, draw_chunks, tables
from lra.tasks.pathfinder.shapes import DEGREES, sine

from .literal_law import dilate, literal_images, paddle, paste, reverse, shrink, translate

# --- The tables ---------------------------------------------------------------------------------------------

SPECS = {32: Pathfinder(), 64: Pathfinder64(), 128: PathX(), 256: PathX256()}
LRA = [(spec, margin) for spec in SPECS.values() for margin in spec.paddle_margins]


@pytest.mark.parametrize(("spec", "margin"), LRA, ids=lambda v: getattr(v, "resolution", v))
def test_tables_are_the_law(spec, margin):
    """Every paddle, its mask and its displacements."""
    paddles, _ = tables(spec, margin)
    length, step, middle = spec.paddle_length, spec.paddle_length + margin, paddles.width // 2
    centre = middle * (paddles.width + 1)
    circle = np.array(np.divmod(paddles.circle + centre, paddles.width)) - middle
    angles = [d * math.pi / 180 for d in range(-180, 180)] + [math.atan2(y, x) for y, x in circle.T]
    for kind, angle in enumerate(angles):
        expected = paddle(spec, margin, angle if kind < DEGREES else reverse(angle))
        half = len(expected[0]) // 2
        for table, stamp in zip((paddles.inks, paddles.masks), expected, strict=True):
            canvas = np.zeros(paddles.width**2)
            canvas[centre + table.offsets[kind]] = table.values[kind] / 255
            square = canvas.reshape(paddles.width, -1)[middle - half :, middle - half :][: 2 * half + 1, : 2 * half + 1]
            np.testing.assert_array_equal(square, stamp)
            assert np.count_nonzero(canvas) == np.count_nonzero(stamp)
        for c in (0, 1, 2, 3, 5, 9, spec.resolution - 1):  # the rounding of sums depends on their size
            place = np.array([(c + paddles.border) * (paddles.width + 1)])
            moves = [(paddles.hop, translate([c, c], angle, step + margin))]
            if kind < DEGREES:
                pivot = translate(translate([c, c], angle, length), reverse(angle), step)
                moves.append((paddles.first_pivot, pivot))
            for move, (y, x) in moves:
                to = move(place, np.array([kind]))
                assert to == (y + paddles.border) * paddles.width + x + paddles.border


@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_first_tails_are_the_law(resolution):
    """The directions in which a contour can start, and the pixels in the middle of the image from which it can."""
    spec = SPECS[resolution]
    paddles, _ = tables(spec, spec.paddle_margins[0])
    step, frame = spec.paddle_length + spec.paddle_margins[0], 2 * spec.seed_distance
    blocked = np.ones((resolution, resolution))
    blocked[frame:-frame, frame:-frame] = 0
    for degree in range(0, DEGREES, 3):
        stamp = paddle(spec, spec.paddle_margins[0], (degree - 180) * math.pi / 180)[1]
        struct = np.argwhere(paste(stamp, (step + 1, step + 1), 2 * step + 1) == 1) - step
        free = dilate(blocked, [tuple(o) for o in struct], -np.inf)
        assert paddles.usable[degree] == (free.min() >= 0)
        if paddles.usable[degree]:
            assert (free == 0).sum() == np.prod(paddles.box_size[:, degree].clip(0))


@pytest.mark.parametrize("resolution", [32, 64, 128, 256])
def test_markers_are_the_law(resolution):
    """Discs near the border, where resampling is special, and elsewhere."""
    spec = SPECS[resolution]
    _, greys = tables(spec, spec.paddle_margins[0])
    fine, side = np.arange(2 * resolution), 2 * greys.reach + 1
    for tip in [
        (2, 2),
        (2, 20),
        (5, resolution - 3),
        (resolution - 4, 9),
        (20, 17),
        (resolution - 2, resolution - 7),
    ]:
        y, x = (fine - 2 * c for c in tip)
        marker = np.where(y[:, None] ** 2 + x**2 <= (2 * spec.marker_radius) ** 2, 255, 0).astype(np.uint8)
        whole = np.pad(shrink(marker, resolution), greys.reach)[tip[0] :, tip[1] :][:side, :side]
        disc = greys.discs_at(*np.array(tip)[:, None]).reshape(side, side)
        np.testing.assert_array_equal(disc / 255, whole)


def test_sine_is_within_a_last_bit_of_the_library():
    for degree in range(-180, 181):
        angle = degree * math.pi / 180
        assert abs(sine(angle) - math.sin(angle)) <= math.ulp(math.sin(angle))
        assert abs(sine(angle, cosine=True) - math.cos(angle)) <= math.ulp(math.cos(angle))


# --- The chunks ---------------------------------------------------------------------------------------------


def digest(chunk):
    return hashlib.sha256(chunk.images.tobytes() + chunk.labels.tobytes() + chunk.margins.tobytes()).hexdigest()[:16]


DIGESTS = [
    (32, "338bbf2138d049bc"),
    (64, "1585c32d05906faa"),
    (128, "fbc837e932b128e7"),
    (256, "7959dbcc268f72d2"),
]


@pytest.mark.parametrize(("resolution", "expected"), DIGESTS)
def test_chunks_never_change(resolution, expected):
    assert digest(draw_chunk(replace(SPECS[resolution], chunk=8), 3)) == expected


def test_chunks_do_not_feel_the_mathematics_library(monkeypatch):
    """The last bits of sin, cos and atan2, which differ between machines, change nothing."""
    rng = np.random.default_rng(0)

    def shaken(function):
        def shake(*args):
            value, exact = function(*args), any(np.ndim(a) == 0 and a == 0 for a in args)
            return value if exact else value * (1 + 2.3e-16 * rng.integers(-2, 3, np.shape(value)))

        return shake

    worse = {name: shaken(getattr(math, name)) for name in ("sin", "cos", "atan2")}
    monkeypatch.setattr(shapes, "math", SimpleNamespace(**vars(math) | worse))
    monkeypatch.setattr(shapes, "np", SimpleNamespace(**vars(np) | {"cos": shaken(np.cos)}))
    shapes.lanczos.cache_clear()
    for resolution, expected in DIGESTS[:2]:
        tables.cache_clear()
        assert digest(draw_chunk(replace(SPECS[resolution], chunk=8), 3)) == expected


def test_chunks_depend_on_seed_and_index_only():
    spec = Pathfinder(chunk=8)
    alone = digest(draw_chunk(spec, 1))
    assert [digest(c) for c in draw_chunks(spec, [2, 1], processes=2)][1] == alone
    assert len({alone, digest(draw_chunk(spec, 2)), digest(draw_chunk(replace(spec, seed=1), 1))}) == 3


def test_markers_tell_the_label(monkeypatch):
    """At 64 x 64 nothing but the markers is white."""
    spec, drawn = Pathfinder64(chunk=12), []
    grow = drawing.long_contours
    monkeypatch.setattr(drawing, "long_contours", lambda *a: drawn.append(grow(*a)) or drawn[-1])
    images, labels, _ = draw_chunk(spec, 0)
    width, border = tables(spec, 1)[0].width, tables(spec, 1)[0].border
    tips = np.stack(np.divmod(drawn[0][0], width), axis=-1) - border  # [n, paddles, 2]
    assert np.abs(np.linalg.norm(tips[:, 0] - tips[:, 1], axis=1) - spec.seed_distance).max() < 1
    for image, label, tip in zip(images, labels, tips, strict=True):
        white = np.argwhere(image > 250)
        ends = [(tip[i], tip[-2 + (i if label else 1 - i)]) for i in range(2)]
        away = [np.min([np.linalg.norm(white - t, axis=1) for t in pair], axis=0).max() for pair in ends]
        assert min(away) < spec.marker_radius + 1
        assert all(image[tuple(t)] > 240 for t in ends[int(np.argmin(away))])


@pytest.mark.parametrize("contour_length", [6, 9])
def test_easier_levels(contour_length):
    spec = Pathfinder(contour_length=contour_length, chunk=100)
    images = draw_chunk(spec, 0).images
    assert spec.distractors * spec.distractor_length <= spec.distractor_paddles
    assert 0 < (images > 128).mean() < (draw_chunk(Pathfinder(chunk=100), 0).images > 128).mean()


def test_parameters_are_checked():
    for wrong in ({"seed_distance": 4}, {"paddle_thickness": 0.7}, {"padding": 0}, {"contour_length": 2}):
        with pytest.raises(ValueError, match=r"first paddles|whole number|or more"):
            Pathfinder(**wrong)
    with pytest.raises(UsageError, match="99 %"):
        draw_chunk(Pathfinder(distractor_paddles=400), 0)


# --- The distribution ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ours():
    images, labels, _ = draw_chunk(Pathfinder(chunk=2000), 0)
    return images, labels


@pytest.fixture(scope="module")
def literal():
    return literal_images(Pathfinder(), 200)


def test_statistics_of_the_original(ours):
    """The original's are those of 2,000 images. The test draws as many, so the sampling error counts twice."""
    images, labels = ours
    n, pixels = len(images), images.reshape(len(images), -1).astype(float)

    def check(values, original, digits):
        error = math.sqrt(2) * values.std() / math.sqrt(n)
        assert abs(values.mean() - original) < 3.5 * error + 0.5 * 10**-digits

    means = pixels.mean(1)
    check(means, 20.14, 2)
    check((pixels**2).mean(1) - 2 * 20.14 * means, 51.05**2 - 20.14**2, 0)
    check(labels, 0.482, 3)
    for label, mean in ((0, 20.13), (1, 20.15)):
        assert abs(means[labels == label].mean() - mean) < 3.5 * 2 * means.std() / math.sqrt(n)
    for level, fraction, digits in ((0, 0.340, 3), (64, 0.125, 3), (128, 0.0847, 4), (200, 0.016, 3)):
        check((pixels > level).mean(1), fraction, digits)
    histogram = (0.843, 0.0125, 0.0114, 0.0079, 0.0076, 0.0117, 0.0093, 0.0118,
                 0.0185, 0.0206, 0.0165, 0.0104, 0.0064, 0.0059, 0.0024, 0.0043)  # fmt: skip
    for i, fraction in enumerate(histogram):
        check((pixels // 16 == i).mean(1), fraction, 4 if i else 3)
    rng = np.random.default_rng(0)
    for q, original in ((0.01, 16.9), (0.25, 18.5), (0.5, 19.9), (0.75, 21.2), (0.99, 25.9)):
        error = math.sqrt(2) * np.std([np.quantile(rng.choice(means, n), q) for _ in range(100)])
        assert abs(np.quantile(means, q) - original) < 3.5 * error + 0.05
    assert (pixels.min(1) == 0).all()
    assert (pixels.max(1) == 255).all()
    assert len(np.unique(pixels, axis=0)) == n


def features(images):
    """[n, features]: the grey levels, the levels of neighbours, and where the light is."""
    n, size, _ = images.shape
    grey = np.digitize(images, [8, 64, 128, 192])
    pairs = [(grey[:, :, 1:], grey[:, :, :-1]), (grey[:, 1:], grey[:, :-1]),
             (grey[:, 1:, 1:], grey[:, :-1, :-1]), (grey[:, 1:, :-1], grey[:, :-1, 1:])]  # fmt: skip
    counts = [(images // 16, 16)] + [(5 * a + b, 25) for a, b in pairs]
    parts = [np.stack([(codes == i).mean((1, 2)) for i in range(k)], axis=1) for codes, k in counts]
    blocks = images.reshape(n, 8, size // 8, 8, size // 8).mean((2, 4))
    return np.concatenate([*parts, blocks.reshape(n, -1)], axis=1)


def separation(first, second, folds=5):
    """The area under the curve of a logistic regression on held-out images; it is 0.5 if the regression cannot tell."""
    inputs = np.concatenate([features(first), features(second)])
    target = np.repeat([0, 1], [len(first), len(second)])
    fold, scores = np.random.default_rng(0).permutation(len(target)) % folds, np.zeros(len(target))
    for k in range(folds):
        train = fold != k
        x = (inputs - inputs[train].mean(0)) / (inputs[train].std(0) + 1e-9)
        x, y = np.concatenate([x, np.ones((len(x), 1))], axis=1), target[train]
        share, weights = np.where(y, 0.5 / y.mean(), 0.5 / (1 - y.mean())), np.zeros(x.shape[1])
        for _ in range(8):  # Newton's steps
            p = 1 / (1 + np.exp(-x[train] @ weights))
            gradient = x[train].T @ (share * (p - y)) + 10 * weights
            hessian = (x[train].T * (share * p * (1 - p))) @ x[train] + 10 * np.eye(len(weights))
            weights -= np.linalg.solve(hessian, gradient)
        scores[~train] = x[~train] @ weights
    return np.mean(scores[target == 1][:, None] > scores[target == 0])


@pytest.mark.slow
def test_no_classifier_tells_ours_from_the_law(ours, literal):
    assert abs(separation(literal[0], ours[0][:1000]) - 0.5) < 0.065  # three standard errors


def test_the_classifier_has_teeth(ours):
    """The classifier tells a slightly different law at once."""
    other = draw_chunk(Pathfinder(chunk=240, seed_distance=6), 0).images
    assert separation(other, ours[0][:1000]) > 0.6
