"""Pictures for the terminal and on contact sheets."""

import numpy as np
import pytest

from lra.tasks.pictures import as_characters, contact_sheet

RAMP = " .:-=+*#%@"


def test_characters_of_known_levels():
    """Two characters a pixel, the darkest blank; blanks at the end of a line are left out."""
    assert as_characters(np.array([0, 255, 128, 0])) == "  @@\n++"
    levels = np.array([26 * i + 5 for i in range(9)], np.uint8)
    assert as_characters(levels) == "  ..::\n--==++\n**##%%"
    assert as_characters(np.zeros(4, np.uint8)) == "\n"


def test_brighter_is_never_a_darker_character():
    lines = [as_characters(np.array([level])) for level in range(256)]
    ranks = [RAMP.index(line[0]) if line else 0 for line in lines]
    assert ranks == sorted(ranks)
    assert set(ranks) == set(range(10))


@pytest.mark.parametrize("side", [3, 32, 40, 64, 128, 256])
def test_characters_fit_a_terminal(side):
    lines = as_characters(np.full(side**2, 255)).split("\n")
    assert len(lines) == min(side, 40)
    assert {len(line) for line in lines} == {2 * min(side, 40)}


def test_large_pictures_are_shown_by_their_means():
    image = np.zeros((80, 80), np.uint8)
    image[:2, :2] = [[255, 0], [0, 255]]  # of which the mean is 127 or 128
    lines = as_characters(image.ravel()).split("\n")
    assert lines[0] in ("==", "++")
    assert set(lines[1:]) == {""}


def draw(count: int, side: int) -> list[np.ndarray]:
    return list(np.random.default_rng(count).integers(0, 255, (count, side**2), np.uint8))  # 255 is the background


@pytest.mark.parametrize(("side", "scale"), [(12, 10), (32, 4), (128, 1), (150, 1)])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_contact_sheet_holds_the_pixels(side, scale, count):
    """Each image once, enlarged, in reading order, and nothing else where there are no captions."""
    images = draw(count, side)
    sheet = np.asarray(contact_sheet(images, [""] * count))
    tile = side * scale
    rows = np.flatnonzero((sheet != 255).any(1))
    tops = [row for row in rows if row - 1 not in rows]
    places = []
    for top in tops:
        columns = np.flatnonzero((sheet[top : top + tile] != 255).any(0))
        places += [(top, column) for column in columns if column - 1 not in columns]
    assert len(places) == count
    for (y, x), image in zip(places, images):
        expected = image.reshape(side, side).repeat(scale, axis=0).repeat(scale, axis=1)
        np.testing.assert_array_equal(sheet[y : y + tile, x : x + tile], expected)
    assert np.count_nonzero(sheet != 255) == count * tile**2


def test_size_of_a_contact_sheet():
    """Tiles of 128, gaps of 4 around each, and captions of 14."""
    assert contact_sheet(draw(1, 32), ["a"]).size == (4 + 132, 4 + 128 + 14 + 4)
    assert contact_sheet(draw(6, 64), "abcdef").size == (4 + 3 * 132, 4 + 2 * (128 + 14 + 4))


def test_captions_are_below_their_images():
    images = draw(2, 32)
    several = ["", ""], ["", "cat"], ["dog", "cat"]
    plain, one, two = (np.asarray(contact_sheet(images, captions)) for captions in several)
    rows, columns = np.nonzero(one != plain)
    assert rows.min() >= 4 + 128
    assert rows.max() < 4 + 128 + 14
    assert columns.min() >= 4 + 132  # of the second image
    rows, columns = np.nonzero(two != one)
    assert len(rows) > 10
    assert columns.max() < 4 + 128


def test_as_many_captions_as_images():
    with pytest.raises(ValueError, match="zip"):
        contact_sheet(draw(2, 32), ["one"])
