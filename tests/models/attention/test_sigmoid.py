"""sigmoid: its bias, and its blocks of queries."""

import jax.numpy as jnp
import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal
from lra.models.attention import sigmoid as module

from ..core import assert_equals_oracle, subject


@parametrize_with_checks(["sigmoid"])
def test_is_what_it_says(check):
    check()


def test_equals_the_formula():
    assert_equals_oracle(subject("sigmoid"), 1, 13, 16)


def test_queries_and_keys_of_nothing_give_nearly_the_mean():
    """Of n keys each has the weight 1 / (1 + n)."""
    v, mask = normal(6, 13, 3, 4), masks(13)
    out = np.asarray(module.sigmoid(jnp.zeros_like(v), v, v, mask))
    for row in np.flatnonzero(mask.any(1)):
        own = v[row, mask[row]]
        np.testing.assert_allclose(out[row, 0], own.sum(0) / (1 + len(own)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("length", [5, 8, 13])
def test_blocks_of_queries_are_all_queries(monkeypatch, length):
    q, k, v = normal(3, 6, length, 3, 4)
    mask = masks(length)
    whole = module.sigmoid(q, k, v, mask)
    monkeypatch.setattr(module, "ROWS", 4)
    np.testing.assert_allclose(module.sigmoid(q, k, v, mask), whole, rtol=1e-5, atol=1e-6)
