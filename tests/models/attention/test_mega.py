"""mega: its average, its two attentions, whole and in chunks, and its biases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal
from lra.errors import UsageError
from lra.models.attention import mega

from ..core import assert_equals_oracle, subject


@parametrize_with_checks(["mega"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(
    ("options", "lengths"),
    [
        ({"state": 3}, [1, 17]),
        ({"state": 2, "attention": "laplace", "query_dim": 5, "value_dim": 7}, [13]),
        ({"state": 1, "chunk": 4}, [12, 3, 11]),
        ({"state": 2, "chunk": 5, "attention": "laplace", "bias": False}, [12]),
    ],
    ids=str,
)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("mega", **options), *lengths)


@pytest.mark.parametrize("attention", mega.FUNCTIONS)
def test_some_queries_at_a_time(attention, monkeypatch):
    monkeypatch.setattr(mega, "QUERIES", 5)
    assert_equals_oracle(subject("mega", state=2, attention=attention), 13)


def test_one_chunk_is_the_whole():
    x, mask = normal(6, 24, 10), masks(24)
    whole, chunk, wide = subject("mega", chunk=0), subject("mega", chunk=24), subject("mega", chunk=30)
    np.testing.assert_array_equal(whole(x, mask), chunk(x, mask))
    assert wide(x, mask).shape == x.shape


def test_a_bias_for_each_distance():
    table = jnp.arange(9.0)
    expected = [[table[j - i + 4] for j in range(5)] for i in range(5)]
    np.testing.assert_array_equal(mega.toeplitz(table, 5), expected)


def test_the_average_goes_across_chunks():
    """With chunks of one token, a token sees the others through the average alone."""
    s, x = subject("mega", state=2, chunk=1), normal(1, 24, 10)
    other = x.copy()
    other[0, 0] += 1
    change = np.abs(s(other, np.ones((1, 24), bool)) - s(x, np.ones((1, 24), bool)))[0].max(-1)
    assert (change[:10] > 1e-6).all()


def test_parameters():
    """W_z; W_v, W_r and U_h; W_u and W_h; the average's; kappa and mu; the biases of all W, of all distances."""
    z, v, d, n = 6, 24, 10, 3
    count = sum(x.size for x in jax.tree.leaves(subject("mega", state=n).params))
    assert count == d * z + 3 * d * v + 2 * d * d + (8 * n + 1) * d + 4 * z + (z + 2 * v + 2 * d) + 2 * 24 - 1


def test_only_the_table_of_distances_limits_the_length():
    x, mask = normal(1, 30, 10), np.ones((1, 30), bool)
    with pytest.raises(UsageError, match="mega was built for at most 24 tokens and got 30"):
        subject("mega")(x, mask)
    assert np.isfinite(subject("mega", bias=False)(x, mask)).all()
    assert np.isfinite(subject("mega", bias=True, chunk=4)(x, mask)).all()


@pytest.mark.parametrize(
    ("option", "value"),
    [("state", 0), ("query_dim", 0), ("value_dim", 0), ("chunk", -1), ("attention", "relu2")],
)
def test_impossible_options_are_refused(option, value):
    with pytest.raises(UsageError, match=rf"mega\.{option} = '?{value}"):
        subject("mega", **{option: value})
