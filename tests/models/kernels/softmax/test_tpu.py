"""Softmax attention in Mosaic TPU kernels, run by Pallas's interpreter, against the oracle."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.models.kernels.softmax import tpu_tiling
from lra.models.kernels.softmax.dropout import NO_DROPOUT, Dropout, kept
from lra.models.kernels.softmax.op import attend
from lra.models.kernels.softmax.pattern import CAUSAL, FULL, Blocks, First, SameBlock, Window
from lra.models.kernels.softmax.tpu_tiling import Schedule, tiling_of

from ..where import at_edges, on
from .oracle import assert_close, oracle, problem

pytestmark = pytest.mark.interpreter

RNG = np.random.default_rng(0)
TILE = 384  # keys
RANDOM_BLOCKS = Blocks(
    64, ((0, 1), (3,), (), (8, 1), (2,), (1, 2, 3), (0,), (), (8,))
)  # some see nothing, some are unseen


@pytest.fixture(autouse=True)
def _on_its_backend():
    with on("mosaic_tpu"):
        yield


def results(q, k, v, d_out, d_lse, **more):
    """out, lse, and the gradients of q, k and v."""

    def weighted(q, k, v):
        out, lse = attend(q, k, v, **more)
        total = (out.astype(jnp.float32) * d_out).sum() + (jnp.where(jnp.isneginf(lse), 0, lse) * d_lse).sum()
        return total, (out, lse)

    (_, parts), gradients = jax.value_and_grad(weighted, (0, 1, 2), has_aux=True)(q, k, v)
    return *parts, *gradients


def compare(operands, tolerance=1e-5, dtype=jnp.float32, rate=0.0, pattern=FULL, **more):
    q, k, v, d_out, d_lse = operands
    q, k, v, d_out = (jnp.asarray(x, dtype) for x in (q, k, v, d_out))
    batch, queries, heads, _ = q.shape
    dropout, stays = NO_DROPOUT, None
    if rate:
        dropout = Dropout(rate, jax.random.key(1))
        row, column = np.ogrid[:queries, : k.shape[1]]
        stays = kept(dropout.seeds(batch, heads)[..., None, None], row.astype(np.int32), column.astype(np.int32), rate)
    run = jax.jit(lambda *x: results(*x, pattern=pattern, dropout=dropout, **more))
    expected = oracle(q, k, v, d_out, d_lse, pattern=pattern, kept=stays, rate=rate, **more)
    assert_close(run(q, k, v, d_out, d_lse), expected, tolerance)


def padded(batch: int, keys: int, heads: int, *lengths: int):
    """A mask with holes, and with no token from each example's length on."""
    return (RNG.random((batch, keys, heads)) < 0.7) & (np.arange(keys) < np.array(lengths)[:, None])[..., None]


def test_all_pairs_of_ragged_lengths():
    compare(problem(2, 150, 600, value_dim=16), mask=padded(2, 600, 2, 600, 0))


def test_a_window_over_several_tiles_and_heads():
    compare(problem(1, 700, 700, head_dim=16), pattern=Window(25, 30), mask=padded(1, 700, 1, 500))


def test_blocks_with_dropout_and_pairs_of_each_head():
    allowed = RNG.random((1, 2, 520, 520)) < 0.5
    compare(problem(2, 520, 520, head_dim=40), pattern=RANDOM_BLOCKS, allowed=allowed, rate=0.25)


def test_bfloat16():
    pattern = CAUSAL | First(30)
    compare(
        problem(2, 600, 600, heads=1, head_dim=64), 2e-2, jnp.bfloat16, 0.1, pattern, mask=padded(2, 600, 1, 20, 600)
    )


def test_one_query_and_one_key():
    compare(problem(1, 1, 1))


def test_padding_of_tiles_never_spreads():
    # of a key that is not there the probability is exp(-lse), infinite here
    q, k, v, d_out, d_lse = problem(1, 130, 130, heads=1)
    compare((10 * np.abs(q), -10 * np.abs(k), v, d_out, d_lse), 1e-4)


def test_no_tile_past_the_last_real_key_is_looked_at():
    q, k, v, d_out, d_lse = problem(1, 600, 600, heads=1)
    mask = np.arange(600)[None, :, None] < 200  # tiles have 384 tokens
    expected = oracle(q, k, v, d_out, d_lse, mask=mask)
    k[:, 384:], v[:, 384:] = np.nan, np.nan  # which 0 times would still be
    assert_close(jax.jit(lambda *x: results(*x, mask=mask))(q, k, v, d_out, d_lse), expected)


def test_lengths_at_the_edges_of_tiles_in_one_batch():
    mask = np.pad(at_edges(TILE), ((0, 0), (0, TILE - 128)))  # no other tile would pad this length less
    past = np.arange(mask.shape[1]) >= TILE * -(-mask.sum(1, keepdims=True) // TILE)  # tiles without a real key
    q, k, v, d_out, d_lse = problem(len(mask), 9, mask.shape[1], heads=1)
    assert tiling_of(FULL, 9, mask.shape[1], 1, 8 * 4).block_k == TILE
    expected = oracle(q, k, v, d_out, d_lse, mask=mask[..., None])
    k, v = (np.where(past[..., None, None], np.nan, x) for x in (k, v))
    assert_close(jax.jit(lambda *x: results(*x, mask=mask[..., None]))(q, k, v, d_out, d_lse), expected)


def test_some_examples_at_a_time(monkeypatch):
    operands = problem(3, 60, 60, heads=2)
    pattern = Window(9, 9)
    assert tpu_tiling.examples_at_once(tiling_of(pattern, 60, 60, 2, 32), 2, dropout=True) > 80_000
    monkeypatch.setattr(tpu_tiling, "SCALARS", 3 * 4 + 2 * 3 * 4)  # a schedule of one tile, and two examples
    assert tpu_tiling.examples_at_once(tiling_of(pattern, 60, 60, 2, 32), 2, dropout=True) == 2
    compare(operands, rate=0.25, pattern=pattern, mask=padded(3, 60, 1, 60, 0, 30))


def test_a_mapped_axis_joins_the_batch():
    operands, mask = problem(4, 140, 140, heads=1), padded(2, 140, 1, 140, 70)
    mapped = jax.jit(jax.vmap(lambda *x: results(*x, mask=mask)))
    of_vmap = mapped(*(x.reshape(2, 2, *x.shape[1:]) for x in operands))
    assert_close(of_vmap, oracle(*operands, mask=np.tile(mask, (2, 1, 1))))


@pytest.mark.parametrize(("queries", "keys"), [(1000, 1000), (130, 700)])
@pytest.mark.parametrize(
    "pattern", [FULL, CAUSAL, Window(20, 30) | First(5), SameBlock(100, 60), RANDOM_BLOCKS, ~Window(300, 0)], ids=repr
)
def test_schedules_visit_what_is_seen_and_each_line(pattern, queries, keys):
    p = tiling_of(pattern, queries, keys, 2, 64)
    rows, columns = -(-queries // p.block_q), -(-keys // p.block_k)
    seen = np.zeros((rows * p.block_q, columns * p.block_k), bool)
    i, j = np.ogrid[:queries, :keys]
    seen[:queries, :keys] = pattern.allowed(i, j)
    for visited, lines in ((p.by_queries, rows), (p.by_keys, columns)):
        covered, order = np.zeros_like(seen), []
        for line, index, mask in tiles_of(visited, p.block_k, p.block_q):
            row, column = (line, index) if visited is p.by_queries else (index, line)
            tile = covered[row * p.block_q :, column * p.block_k :][: p.block_q, : p.block_k]
            assert not (tile & mask.T).any()
            tile |= mask.T
            order.append(line)
        assert sorted(order) == order
        assert set(order) == set(range(lines))
        of_keys = slice(None) if visited is p.by_queries else slice(keys)  # nobody looks at gradients past the end
        np.testing.assert_array_equal(covered[:queries, of_keys], seen[:queries, of_keys])


def tiles_of(visited: Schedule, block_k: int, block_q: int):
    """(line, index, [block_k, block_q] which pairs are seen)."""
    nothing, everything = (np.full((1, block_k, block_q), seen) for seen in (False, True))
    masks = np.concatenate([nothing, everything, visited.masks != 0])
    for repeat in range(visited.repeats):
        for line, index, kind in zip(visited.line, visited.index, visited.kind):
            yield repeat + line, index, masks[kind + 1]


def test_small_patterns_have_small_tiles_and_several_heads():
    window = tiling_of(Window(25, 25), 4096, 4096, 8, 32)
    assert (window.block_q, window.block_k, window.heads) == (128, 128, 8)
    dense = tiling_of(FULL, 4096, 4096, 8, 128)
    assert (dense.block_q, dense.block_k, dense.heads) == (512, 512, 1)


def test_the_table_is_linear_in_the_length_of_a_window_and_none_of_all_pairs():
    short, long = (tiling_of(Window(25, 25), n, n, 1, 128).by_queries for n in (2**14, 2**17))
    assert len(long.line) < 8.1 * len(short.line)
    assert len(tiling_of(FULL, 2**20, 2**20, 1, 128).by_keys.line) <= 2**20 // 512


def test_what_it_cannot_it_says():
    x = jnp.zeros((1, 8, 1, 8))
    with pytest.raises(NotImplementedError, match="bias"):
        attend(x, x, x, bias=jnp.zeros((8, 8)))
    with pytest.raises(NotImplementedError, match="float16"):
        attend(*[x.astype(jnp.float16)] * 3)
    with pytest.raises(NotImplementedError, match="scalar memory"):
        tiling_of(CAUSAL, 2**20, 2**20, 1, 128)
