"""sinkhorn: its soft permutation, and what stands beside a block."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lra.checks import parametrize_with_checks
from lra.checks.subject import Subject, masks, normal, quick_jit
from lra.errors import UsageError
from lra.models.attention import VARIANTS, Shape
from lra.models.attention.sinkhorn import balance
from lra.models.kernels.softmax import attend

from ..core import assert_equals_oracle, subject

MASK, X = masks(24), normal(6, 24, 10)


@parametrize_with_checks(["sinkhorn"])
def test_is_what_it_says(check):
    check()


EVERY = np.ones((6, 6), bool)


@pytest.mark.parametrize(
    ("options", "lengths"),
    [
        ({"block": 4}, [1, 7, 24]),
        ({"block": 5, "temperature": 2.0, "iterations": 1}, [13]),
        ({"block": 3, "iterations": 12}, [20]),
        ({"block": 1}, [9]),
    ],
    ids=str,
)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("sinkhorn", **options), *lengths)


def test_one_block_is_softmax_attention():
    """Each key is there twice, so its share is the same."""
    core = subject("sinkhorn", block=24).module.core
    q, k, v = normal(3, 6, 24, 3, 4)
    expected = attend(q, k, v, mask=MASK[..., None])[0]
    np.testing.assert_allclose(core(q, k, v, MASK)[MASK], expected[MASK], rtol=1e-5, atol=1e-5)


def test_rows_and_columns_sum_to_one():
    s = balance(normal(4, 6, 6), EVERY, 50)
    for axis in (-1, -2):
        np.testing.assert_allclose(s.sum(axis), 1, rtol=1e-5)


def test_a_clear_order_is_taken():
    order = np.random.default_rng(0).permutation(6)
    logits = 40 * np.eye(6, dtype=np.float32)[order] + normal(6, 6)
    np.testing.assert_allclose(balance(logits, EVERY, 5), np.eye(6)[order], atol=1e-5)


def test_blocks_of_padding_do_not_count():
    logits, real = normal(6, 6), np.arange(6) < 4
    s = balance(logits, real[:, None] & real, 5)
    np.testing.assert_allclose(s[:4, :4], balance(logits[:4, :4], EVERY[:4, :4], 5), rtol=1e-5)
    assert not s[4:].any()
    assert not s[:, 4:].any()
    assert not balance(logits, ~EVERY, 5).any()


def test_a_sorted_block_is_the_block_itself():
    """If S is a permutation, a token sees its own block and the sorted block beside it, and the padding of neither."""
    core = subject("sinkhorn", block=4).module.core
    q, k, v = normal(3, 6, 24, 3, 4)
    order = np.array([3, 0, 5, 1, 2, 4])
    core.permutation = lambda k, real: jnp.broadcast_to(jnp.eye(6)[order], (6, 3, 6, 6))
    block = np.arange(24) // 4
    weights = np.exp(np.einsum("bihd,bjhd->bhij", q, k) / 2) * MASK[:, None, None]
    weights *= 1.0 * (block[:, None] == block) + (order[block][:, None] == block)
    expected = np.einsum("bhij,bjhd->bihd", weights / np.maximum(weights.sum(-1, keepdims=True), 1e-9), v)
    np.testing.assert_allclose(core(q, k, v, MASK)[MASK], expected[MASK], rtol=1e-4, atol=1e-5)


def test_noise_in_training_only():
    sinkhorn = VARIANTS["sinkhorn"]
    training = Subject(sinkhorn, Shape(10, 12, 3, 24), sinkhorn.options(block=4), train=True)

    @quick_jit
    def f(key):
        layers = training.layers(training.params, training.rest)
        nnx.reseed(layers, dropout=key)
        return training.outputs(layers, X, MASK)[-1]

    outs = [np.asarray(f(jax.random.key(seed)))[MASK] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(outs[0], outs[1])
    assert np.abs(outs[0] - outs[2]).max() > 1e-3


def test_parameters():
    params = subject("sinkhorn", block=5).module.core
    count = sum(x.size for x in jax.tree.leaves(nnx.state(params, nnx.Param)))
    assert count == 12 * 4 + 12 + 12 * 5 + 3 * 5  # five blocks


@pytest.mark.parametrize(("name", "value"), [("block", 0), ("iterations", 0), ("temperature", 0.0)])
def test_impossible_options_are_refused(name, value):
    with pytest.raises(UsageError, match=rf"sinkhorn\.{name} = {value}"):
        subject("sinkhorn", **{name: value})
