"""Sequences cut into blocks."""

import numpy as np
import pytest

from lra.models.kernels.blocks import from_blocks, into_blocks, pad_to_multiple, with_neighbours


@pytest.mark.parametrize(("length", "expected"), [(1, 4), (3, 4), (4, 4), (5, 8), (8, 8)])
def test_pad_to_multiple(length, expected):
    x = np.ones((2, length, 3))
    padded = pad_to_multiple(x, 4)
    assert padded.shape == (2, expected, 3)
    np.testing.assert_array_equal(padded[:, :length], x)
    assert not padded[:, length:].any()
    for axis in (1, -2):
        np.testing.assert_array_equal(pad_to_multiple(x, 4, axis), padded)
    mask = pad_to_multiple(np.ones((2, length), bool), 4)
    assert mask.dtype == bool
    assert (mask.sum(1) == length).all()


def test_blocks_and_their_neighbours():
    x = 1 + np.arange(7)[None]
    blocks = into_blocks(x, 3)
    assert blocks.tolist() == [[[1, 2, 3], [4, 5, 6], [7, 0, 0]]]
    np.testing.assert_array_equal(from_blocks(blocks, 7), x)
    assert with_neighbours(blocks)[0].tolist() == [
        [0, 0, 0, 1, 2, 3, 4, 5, 6],
        [1, 2, 3, 4, 5, 6, 7, 0, 0],
        [4, 5, 6, 7, 0, 0, 0, 0, 0],
    ]
