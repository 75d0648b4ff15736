"""Patterns: what they allow, pair by pair, and their tiles, which must allow the same."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lra.models.kernels.softmax.pattern import CAUSAL, FULL, Blocks, First, Pattern, SameBlock, Tiles, Window, tiles

from .patterns import PATTERNS

LENGTHS, BLOCKS = st.integers(1, 40), st.sampled_from([1, 3, 8, 16, 64])


def dense(pattern: Pattern, queries: int, keys: int) -> np.ndarray:
    return np.broadcast_to(pattern.allowed(np.arange(queries)[:, None], np.arange(keys)), (queries, keys))


def painted(tiling: Tiles, queries: int, keys: int, block_q: int, block_k: int, by_columns: bool = False) -> np.ndarray:
    """How often the tiles say that a pair is seen; what is past the end must be unseen by the masks."""
    lines = -(-queries // block_q), -(-keys // block_k)
    counts = np.zeros((lines[0] * block_q, lines[1] * block_k), int)
    for line in range(len(tiling.counts)):
        for entry in range(tiling.starts[line], tiling.starts[line + 1]):
            i, j = (tiling.index[entry], line) if by_columns else (line, tiling.index[entry])
            tile = np.s_[i * block_q : (i + 1) * block_q, j * block_k : (j + 1) * block_k]
            counts[tile] += (
                tiling.masks[tiling.kind[entry] - 1] if tiling.kind[entry] else np.ones((block_q, block_k), int)
            )
    assert not counts[:queries, keys:].any()
    return counts[:queries, :keys]


@settings(max_examples=300)
@given(PATTERNS, LENGTHS, LENGTHS, BLOCKS, BLOCKS)
@example(~(Window(0, None) | First(1)), 2, 2, 1, 3)  # a tile that only its mask shows to be empty
@example(Window(2, None) & ~Window(None, 5) | First(0), 9, 40, 3, 8)
def test_tiles_are_the_pattern(pattern, queries, keys, block_q, block_k):
    """Each pair is in the right tile once, row by row and column by column, and no tile is empty."""
    tiling, expected = tiles(pattern, queries, keys, block_q, block_k), dense(pattern, queries, keys)
    np.testing.assert_array_equal(painted(tiling, queries, keys, block_q, block_k), expected)
    assert tiling.masks.any((1, 2)).all()
    for start, stop in zip(tiling.starts, tiling.starts[1:]):
        assert (np.diff(tiling.index[start:stop]) > 0).all()
    columns = tiling.transposed(-(-keys // block_k))
    assert len(columns.counts) == -(-keys // block_k)
    np.testing.assert_array_equal(painted(columns, queries, keys, block_q, block_k, by_columns=True), expected)


def test_rules_pair_by_pair():
    i, j = np.arange(7)[:, None], np.arange(9)
    rules = [
        (FULL, lambda i, j: True),
        (CAUSAL, lambda i, j: j <= i),
        (Window(2, 0), lambda i, j: i - 2 <= j <= i),
        (Window(None, 3), lambda i, j: j <= i + 3),
        (First(2), lambda i, j: j < 2),
        (SameBlock(3, 4), lambda i, j: i // 3 == j // 4),
        (Blocks(2, ((0, 2), (), (1,))), lambda i, j: (i // 2, j // 2) in {(0, 0), (0, 2), (2, 1)}),
        (Blocks(2, ((0, 2), (1,))), lambda i, j: (i // 2, j // 2) in {(0, 0), (0, 2), (1, 1)}),
        (Window(1, 1) | First(1), lambda i, j: abs(i - j) <= 1 or j < 1),
        (SameBlock(4, 4) & CAUSAL, lambda i, j: i // 4 == j // 4 and j <= i),
        (~Window(0, 0), lambda i, j: i != j),
    ]
    for pattern, rule in rules:
        expected = [[rule(a, b) for b in range(9)] for a in range(7)]
        np.testing.assert_array_equal(pattern.allowed(i, j), expected, err_msg=str(pattern))
        np.testing.assert_array_equal(pattern.allowed(jnp.asarray(i), jnp.asarray(j)), expected, err_msg=str(pattern))


@pytest.mark.parametrize("sides", [(-1, 0), (3, -2), (None, -1)])
def test_a_window_has_no_negative_side(sides):
    with pytest.raises(ValueError, match="below 0"):
        Window(*sides)


def test_few_masks_for_many_tiles():
    """The tiles of a window at the diagonal and beside it are the same along the whole length."""
    tiling = tiles(Window(100, 100), 16384, 16384, 128, 128)
    assert len(tiling.index) == 3 * 128 - 2
    assert len(tiling.masks) == 3
    assert len(tiles(FULL, 16384, 16384, 128, 128).masks) == 0
    assert len(tiles(CAUSAL, 4096, 4096, 128, 128).masks) == 1
    assert len(tiles(~SameBlock(128, 8), 16384, 1024, 128, 8).masks) == 0


def test_equal_patterns_are_one_to_a_cache():
    assert tiles(Window(3, 4) | First(2), 30, 30, 8, 8) is tiles(Window(3, 4) | First(2), 30, 30, 8, 8)
    assert Window(3, 4) != Window(4, 3)
