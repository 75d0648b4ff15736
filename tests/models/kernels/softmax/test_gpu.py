"""Softmax attention in Mosaic GPU kernels, run by Pallas's interpreter, against the oracle."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.models.kernels.softmax.dropout import NO_DROPOUT, Dropout, kept
from lra.models.kernels.softmax.gpu_walk import Size, size
from lra.models.kernels.softmax.op import attend
from lra.models.kernels.softmax.pattern import CAUSAL, FULL, Blocks, SameBlock, Window

from ..where import at_edges, on
from .oracle import assert_close, oracle, problem

pytestmark = pytest.mark.interpreter

RNG = np.random.default_rng(0)
TILE = 128  # keys, in the forward pass; 64 in the backward pass
GAPS = Blocks(32, ((0, 1), (6,), (), (4, 1), (2,), (1, 2, 3), (0,)))  # some blocks see nothing, some are unseen


@pytest.fixture(autouse=True)
def _on_its_backend():
    with on("mosaic_gpu"):
        yield


def results(q, k, v, d_out, d_lse, **options):
    """out, lse, and the gradients of q, k and v."""
    (out, lse), back = jax.vjp(lambda *x: attend(*x, **options), q, k, v)
    return out, lse, *back((d_out, d_lse))


def compare(operands, pattern=FULL, rate=0.0, dtype=jnp.bfloat16, tolerance=2e-2, poisoned=None, **options):
    """Keys and values are NaN where `poisoned`, [batch, keys], says so; NaN stays NaN even times 0."""
    *arrays, d_lse = operands
    q, k, v, d_out = (jnp.asarray(x, dtype) for x in arrays)
    batch, queries, heads, _ = q.shape
    dropout, stays = NO_DROPOUT, None
    if rate:
        dropout = Dropout(rate, jax.random.key(1))
        i, j = np.ogrid[:queries, : k.shape[1]]
        stays = kept(dropout.seeds(batch, heads)[..., None, None], i.astype(np.int32), j.astype(np.int32), rate)
    expected = oracle(q, k, v, d_out, d_lse, pattern=pattern, kept=stays, rate=rate, **options)
    if poisoned is not None:
        k, v = (jnp.where(poisoned[..., None, None], jnp.nan, x) for x in (k, v))
    run = jax.jit(lambda *x: results(*x, pattern=pattern, dropout=dropout, **options))
    assert_close([jnp.float32(x) for x in run(q, k, v, d_out, d_lse)], expected, tolerance)


def padded(keys: int, heads: int, *lengths: int):
    """A mask with holes, and with no token from each example's length on."""
    shape = len(lengths), keys, heads
    return (RNG.random(shape) < 0.7) & (np.arange(keys) < np.array(lengths)[:, None])[..., None]


def test_ragged_lengths_and_no_look_past_the_last_real_key():
    # tiles have 128 keys; the second example has none
    compare(problem(2, 150, 290, value_dim=40), mask=padded(290, 2, 120, 0), poisoned=np.arange(290)[None] >= 128)


def test_lengths_at_the_edges_of_tiles_in_one_batch():
    mask = at_edges(TILE)
    past = np.arange(mask.shape[1]) >= TILE * -(-mask.sum(1, keepdims=True) // TILE)  # tiles without a real key
    compare(problem(*mask.shape[:1], 33, mask.shape[1], heads=1), mask=mask[..., None], poisoned=past)


def test_blocks_with_gaps_pairs_and_dropout():
    compare(problem(1, 210, 210), GAPS, 0.25, mask=padded(210, 1, 180), allowed=RNG.random((1, 2, 210, 210)) < 0.5)


def test_wide_heads_in_float16():
    compare(problem(1, 130, 130, heads=1, head_dim=136, value_dim=256), CAUSAL, 0.1, jnp.float16, 5e-3)


def test_what_pads_a_tile_is_never_counted():
    # the probability of a key that is not there would be exp(-lse), infinite here
    q, k, *rest = problem(1, 1, 1, heads=1)
    compare((30 * np.abs(q), -30 * np.abs(k), *rest))


def test_a_mapped_axis_joins_the_batch():
    *arrays, d_lse = problem(2, 65, 65, heads=1)
    arrays, mask = [jnp.bfloat16(x) for x in arrays], padded(65, 1, 40)
    mapped = jax.jit(jax.vmap(lambda *x: results(*x, mask=mask)))
    parts = mapped(*(x[:, None] for x in arrays), d_lse[:, None])
    assert_close([jnp.float32(x) for x in parts], oracle(*arrays, d_lse, mask=np.tile(mask, (2, 1, 1))), 2e-2)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (FULL, Size(2, 128, 4)),
        (CAUSAL, Size(2, 128, 4)),
        (Window(500, 500), Size(2, 128, 4)),
        (Window(25, 25), Size(1, 64, 4)),
        (SameBlock(64, 64), Size(1, 64, 4)),
    ],
    ids=str,
)
def test_size_of_tiles(pattern, expected):
    assert size(pattern, 1024, 1024, 64, crowded=False, backward=False) == expected


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (dict(dtype=jnp.float32), "TF32"),
        (dict(head_dim=257), "257 wide"),
        (dict(bias=np.zeros((1, 1, 4, 4), np.float32)), "bias"),
    ],
)
def test_what_the_kernels_cannot_do_has_its_reason(change, reason):
    q = jnp.zeros((1, 4, 1, change.pop("head_dim", 8)), change.pop("dtype", jnp.bfloat16))
    with pytest.raises(NotImplementedError, match=reason):
        attend(q, q, q, **change)
