"""Dropout: its rate, the independence of places, and that a tile drops what the whole matrix drops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.models.kernels.softmax import Dropout
from lra.models.kernels.softmax.dropout import hashed, kept

SIZE = 512
RATES = [0.1, 0.5, 0.75]


def masks(rate: float, seeds=(0, 1, 2, -7, 2**31 - 1), rows: int = SIZE, columns: int = SIZE) -> np.ndarray:
    row, column = (np.arange(n, dtype=np.int32) for n in (rows, columns))
    return np.asarray(kept(np.array(seeds, np.int32)[:, None, None], row[:, None], column, rate))


@pytest.mark.parametrize("rate", RATES)
def test_mean_rate(rate):
    """The rate of all places, of each row and of each column: the means scatter as those of independent draws do."""
    dropped = ~masks(rate)
    deviation = np.sqrt(rate * (1 - rate))
    for axes, count in (((1, 2), SIZE**2), (1, SIZE), (2, SIZE)):
        z = (dropped.mean(axes) - rate) / (deviation / np.sqrt(count))
        assert np.abs(z).max() < 5.5
        if z.size > 100:
            assert abs(z.std() - 1) < 5 / np.sqrt(2 * z.size)


@pytest.mark.parametrize("rate", RATES)
def test_places_are_independent(rate):
    """No correlation with the neighbours at any of many distances, with the transpose, or between seeds."""
    x = (masks(rate) - (1 - rate)) / np.sqrt(rate * (1 - rate))
    bound = 5.5 / np.sqrt(SIZE * SIZE / 2)
    spectrum = np.abs(np.fft.ifft2(np.abs(np.fft.fft2(x)) ** 2).real) / SIZE**2  # circular, over all shifts at once
    spectrum[:, 0, 0] = 0
    assert spectrum.max() < bound
    assert np.abs((x * np.swapaxes(x, 1, 2)).mean((1, 2)) - x.diagonal(0, 1, 2).sum(-1) / SIZE**2).max() < bound
    flat = x.reshape(len(x), -1)
    assert np.abs(flat @ flat.T / SIZE**2 - np.diag((flat**2).mean(1))).max() < bound


def test_neighbouring_seeds_are_no_shifts_of_each_other():
    """Over all shifts of rows and columns, as of row r under seed s and row r + 1 under another."""
    x, y = (np.fft.fft2(2.0 * m - 1) for m in masks(0.5, seeds=(5, 6)))
    assert np.abs(np.fft.ifft2(x * y.conj()).real).max() / SIZE**2 < 6 / SIZE


def test_a_tile_is_the_matrix_there():
    whole = masks(0.3, rows=40, columns=50)
    tile = kept(np.int32([0, 1, 2, -7, 2**31 - 1])[:, None, None], np.arange(9, 30, dtype=np.int32)[:, None],
                np.arange(17, 44, dtype=np.int32), 0.3)  # fmt: skip
    np.testing.assert_array_equal(tile, whole[:, 9:30, 17:44])


def test_the_hash_is_a_permutation_that_mixes():
    """No two of a million integers collide, and each bit of the input changes each of the output half of the time."""
    x = np.random.default_rng(0).integers(-(2**31), 2**31, 4096).astype(np.int32)
    assert len(np.unique(jax.jit(hashed)(jnp.arange(2**20, dtype=jnp.int32)))) == 2**20
    for bit in range(32):
        flipped = np.asarray(hashed(x)) ^ np.asarray(hashed(x ^ np.int32(np.uint32(1 << bit).view(np.int32))))
        share = np.unpackbits(flipped.view(np.uint8).reshape(-1, 4), axis=1).mean(0)
        assert np.abs(share - 0.5).max() < 0.05


def test_dropped_or_scaled():
    x, key = jnp.full((3, 20, 100), 2.0), jax.random.key(0)
    for off in (Dropout(), Dropout(0.5, None), Dropout(0.0, key), Dropout(0.5, None).fold_in(3)):
        np.testing.assert_array_equal(off(x), x)
        assert off.seeds(2, 3) is None
    out = Dropout(0.25, key)(x)
    np.testing.assert_allclose(np.unique(out), [0, 2 / 0.75], rtol=1e-6)
    np.testing.assert_array_equal(Dropout(0.25, key)(x), out)


def test_parts_and_matrices_are_independent():
    dropouts = [Dropout(0.5, jax.random.key(0))]
    dropouts += [dropouts[0].fold_in(i) for i in (0, 1, jnp.array(2))]
    kept = np.array([np.reshape(d(jnp.ones((2, 100, 100))), (2, -1)) > 0 for d in dropouts]).reshape(8, -1)
    assert np.abs(np.corrcoef(kept) - np.eye(8)).max() < 5 / np.sqrt(10_000)
