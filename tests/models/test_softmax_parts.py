"""Parts of a softmax: merged, and in a window."""

import jax
import numpy as np
import pytest

from lra.check.subject import normal, quick_jit
from lra.models.kernels.softmax import attend, attend_window, from_blocks, into_blocks, merge, with_neighbours

LENGTH = 7


def problem(length: int = LENGTH):
    """q, k, v of three rows, and which tokens may be seen: all, some, none."""
    q, k, v = normal(3, 3, length, 2, 4)
    seen = np.random.default_rng(1).random((3, length)) < [[1.1], [0.5], [0.0]]
    return q, k, v, seen


def test_parts_with_disjoint_keys_merge_into_one_softmax():
    q, k, v, seen = problem()
    allowed = seen[:, None, None, :] & (np.random.default_rng(2).random((3, 2, LENGTH, LENGTH)) < 0.7)
    part_of = np.random.default_rng(3).integers(3, size=(LENGTH, LENGTH))

    def merged(q, k, v):
        return merge([attend(100 * q, k, v, allowed & (part_of == part)) for part in range(3)])

    whole = lambda q, k, v: attend(100 * q, k, v, allowed)[0]
    for f in (
        lambda f: f(q, k, v),
        lambda f: jax.grad(lambda *x: (f(*x) * normal(*q.shape)).sum(), (0, 1, 2))(q, k, v),
    ):
        for out, expected in zip(jax.tree.leaves(f(merged)), jax.tree.leaves(f(whole)), strict=True):
            np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)
            assert not np.asarray(out)[2].any()


@pytest.mark.parametrize("radius", [0, 1, 3, 6, 50])
@pytest.mark.parametrize("length", [1, 6, 7])
def test_window_is_a_band_of_softmax_attention(radius, length):
    q, k, v, seen = problem(length)
    band = np.abs(np.arange(length)[:, None] - np.arange(length)) <= radius
    expected = attend(q, k, v, band & seen[:, None, None, :])
    for x, y in zip(quick_jit(attend_window, static_argnums=4)(q, k, v, seen, radius), expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


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


def test_without_keys_there_is_nothing_to_attend_to():
    q, none = normal(1, 2, 1, 3), normal(1, 0, 1, 3)
    out, lse = attend(q, none, none, np.ones((1, 1, 2, 0), bool))
    assert not out.any()
    assert (lse == -np.inf).all()
