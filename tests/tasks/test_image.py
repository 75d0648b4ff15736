"""Image: grey levels, order and splits of CIFAR-10, from tiny files of its binary version."""

import dataclasses
import tarfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from examples import assert_same, collect, litter, read, read_archive

from lra.errors import UserError
from lra.tasks import TASKS
from lra.tasks.image import Image, grey
from lra.tasks.prepared import load, prepare

IMAGE = TASKS["image"]
SOURCE = Image(train=11, validation=4, test=3)  # five batches of three
RECORD = 3073
TRAIN = [f"data_batch_{i}.bin" for i in range(1, 6)]


def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Colours [n, 32, 32, 3] and labels."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 32, 32, 3), np.uint8), rng.integers(0, 10, count)


COLOURS, LABELS = draw(15, 1)
TEST_COLOURS, TEST_LABELS = draw(3, 2)


def batch(colours: np.ndarray, labels: np.ndarray) -> bytes:
    """As the publisher says: the label, 1,024 bytes of red, row by row, then green, then blue."""
    return b"".join(
        bytes([label, *(image[y][x][c] for c in range(3) for y in range(32) for x in range(32))])
        for image, label in zip(colours.tolist(), labels.tolist())
    )


BATCHES = {
    **{name: batch(COLOURS[3 * i : 3 * i + 3], LABELS[3 * i : 3 * i + 3]) for i, name in enumerate(TRAIN)},
    "test_batch.bin": batch(TEST_COLOURS, TEST_LABELS),
}


@pytest.fixture
def folder(tmp_path) -> Path:
    root = tmp_path / "cifar-10-batches-bin"
    root.mkdir()
    for name, raw in BATCHES.items():
        (root / name).write_bytes(raw)
    (root / "readme.html").write_text("<html>")
    return root


# --- Grey levels -----------------------------------------------------------------------------------------------


def test_grey_is_the_formula():
    """The formula is computed in exact fractions. The code has single precision, which may round across a whole number.

    So a result within 1/10,000 of one (several roundings of single precision at 255) may be either. Few are that near.
    """
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (3_000, 3), np.uint8)
    weights, margin, near = [Fraction(w) for w in ("0.2989", "0.587", "0.114")], Fraction(1, 10_000), 0
    for colour, level in zip(colours.tolist(), grey(*colours.T).tolist()):
        exact = Fraction(511, 510) * sum(weight * value for weight, value in zip(weights, colour))
        assert level in {int(exact - margin) if exact > margin else 0, int(exact + margin)}
        near += int(exact - margin) != int(exact + margin)
    assert near < 10


def test_a_grey_keeps_its_level():
    levels = np.arange(256, dtype=np.uint8)
    assert grey(levels, levels, levels).tolist() == list(range(256))


@pytest.mark.parametrize(
    ("colour", "level"),
    [((255, 0, 0), 76), ((0, 255, 0), 149), ((0, 0, 255), 29), ((255, 255, 255), 255), ((0, 0, 0), 0), ((1, 0, 0), 0)],
)
def test_grey_of_pure_colours(colour, level):
    """By hand: 0.2989, 0.587 and 0.114 times 255.5 are 76.4, 149.98 and 29.1."""
    assert grey(*np.array(colour, np.uint8)[:, None]).tolist() == [level]


def test_grey_is_tensorflows():
    tensorflow = pytest.importorskip("tensorflow")
    colours = np.random.default_rng(5).integers(0, 256, (100, 100, 3), np.uint8)
    expected = tensorflow.image.rgb_to_grayscale(colours).numpy()[..., 0]
    np.testing.assert_array_equal(grey(*np.moveaxis(colours, -1, 0)), expected)


# --- Order, splits, origins ------------------------------------------------------------------------------------


def levels(colours: np.ndarray) -> np.ndarray:
    """Grey levels row by row, from colours per pixel."""
    return np.array([[int(grey(*pixel[:, None])[0]) for row in image for pixel in row] for image in colours], np.uint8)


def test_order_and_splits(folder):
    splits, warnings = read(SOURCE, folder)
    assert warnings == []
    assert list(splits) == ["train", "validation", "test"]
    parts = {"train": (COLOURS[:11], LABELS[:11]), "validation": (COLOURS[11:], LABELS[11:])}
    for split, (colours, labels) in {**parts, "test": (TEST_COLOURS, TEST_LABELS)}.items():
        np.testing.assert_array_equal(splits[split].inputs, levels(colours))
        assert splits[split].inputs.dtype == np.uint8
        assert splits[split].labels.tolist() == labels.tolist()
        assert splits[split].lengths.tolist() == [1024] * len(labels)


def test_pixels_are_row_major(tmp_path, folder):
    """A white pixel at row 2, column 5 of the first image, on black."""
    planes = np.zeros((3, 32, 32), np.uint8)
    planes[:, 2, 5] = 255
    rest = BATCHES[TRAIN[0]][RECORD:]
    (folder / TRAIN[0]).write_bytes(bytes([7]) + planes.tobytes() + rest)
    splits, _ = read(SOURCE, folder)
    assert np.flatnonzero(splits["train"].inputs[0]).tolist() == [2 * 32 + 5]
    assert splits["train"].labels[0] == 7


def test_without_validation(folder):
    splits, _ = read(Image(train=15, validation=0, test=3), folder)
    assert list(splits) == ["train", "test"]
    assert splits["train"].labels.tolist() == LABELS.tolist()


def test_the_same_from_folder_parent_archive_and_tfds(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    expected, _ = read(SOURCE, folder)
    assert_same(read(SOURCE, folder.parent)[0], expected)
    archive = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, "cifar-10-batches-bin")
    prepare(IMAGE, SOURCE, read_from=archive)
    assert_same(load(IMAGE, SOURCE).splits, expected)

    def tfds(name, split, task, published):
        assert name == "cifar10"
        colours, labels = {"train": (COLOURS, LABELS), "test": (TEST_COLOURS, TEST_LABELS)}[split]
        for i in np.random.default_rng(3).permutation(len(labels)):
            yield {"id": f"{split}_{i:05d}".encode(), "image": colours[i], "label": labels[i]}

    monkeypatch.setattr("lra.tasks.image.from_tfds", tfds)
    assert_same(collect(SOURCE.generate()), expected)


# --- Bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "damage", "what"),
    [
        pytest.param(TRAIN[2], lambda raw: raw[:-1], "9,218 bytes", id="cut in a record"),
        pytest.param(TRAIN[2], lambda raw: raw + b"\0", "9,220 bytes", id="a byte too many"),
        pytest.param("test_batch.bin", lambda raw: b"", "0 bytes", id="empty"),
        pytest.param(
            TRAIN[1], lambda raw: raw[:RECORD] + b"\x0a" + raw[RECORD + 1 :], "record 2: the label 10", id="label"
        ),
        pytest.param(TRAIN[1], lambda raw: raw[RECORD:], "14 images", id="a record less"),
        pytest.param("test_batch.bin", lambda raw: raw + raw, "6 images", id="test images too many"),
    ],
)  # fmt: skip
def test_damaged_batch(folder, name, damage, what):
    (folder / name).write_bytes(damage(BATCHES[name]))
    with pytest.raises(UserError) as caught:
        read(SOURCE, folder)
    message = str(caught.value)
    assert what in message
    assert str(folder / name) in message or ("images" in what and str(folder) in message)
    assert "\n" not in message


@pytest.mark.parametrize("name", BATCHES)
def test_missing_batch(folder, name):
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"cifar-10-batches-bin/{name}.*cs.toronto.edu"):
        read(SOURCE, folder)
    (folder / name).mkdir()
    with pytest.raises(UserError, match=name):
        read(SOURCE, folder)


def test_wrong_count_from_tfds(monkeypatch):
    row = {"id": b"train_00000", "image": COLOURS[0], "label": 1}
    monkeypatch.setattr("lra.tasks.image.from_tfds", lambda *_: iter([row]))
    with pytest.raises(UserError, match=r"cifar10 has 1 images.* 15 were expected"):
        collect(SOURCE.generate())


def test_sizes_are_numbers():
    with pytest.raises(ValueError, match="test = 0"):
        dataclasses.replace(SOURCE, test=0)


def test_a_folder_or_archive_with_what_file_managers_leave_and_without_its_top_is_the_same(folder, tmp_path):
    expected, _ = read(SOURCE, folder)
    litter(folder)
    assert_same(read(SOURCE, folder)[0], expected)
    assert_same(read(SOURCE, folder.parent)[0], expected)
    for number, top in enumerate(("", "./", "cifar-10-batches-bin/", "./cifar-10-batches-bin/")):
        assert_same(read_archive(SOURCE, folder, top, tmp_path / f"{number}"), expected)
