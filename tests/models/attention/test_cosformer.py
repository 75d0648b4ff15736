"""cosformer: its formula, and what its cosine does."""

import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal
from lra.errors import UsageError

from ..core import assert_equals_oracle, subject


@parametrize_with_checks(["cosformer"])
def test_is_what_it_says(check):
    check()


MASK = masks(12)


@pytest.mark.parametrize(
    ("options", "lengths"), [({}, [1, 7, 24]), ({"max_length": 13}, [13]), ({"epsilon": 1.5}, [9])], ids=str
)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("cosformer", **options), *lengths)


def test_is_the_same_backwards():
    x, s = normal(6, 12, 10), subject("cosformer", max_length=12)
    np.testing.assert_allclose(s(x[:, ::-1], MASK[:, ::-1])[:, ::-1][MASK], s(x, MASK)[MASK], rtol=1e-4, atol=1e-6)


def test_near_tokens_weigh_more_and_not_so_in_the_limit():
    """With all queries and keys equal, the weights are the cosines; the values say which token is which."""
    same, v = np.ones((1, 12, 1, 12), np.float32), np.eye(12, dtype=np.float32)[None, :, None]
    core = lambda longest: subject("cosformer", longest, heads=1, head_dim=12).module.core
    mask = np.ones((1, 12), bool)
    weights = np.asarray(core(12)(same, same, v, mask))[0, :, 0]
    assert (np.diff(weights[0]) < 0).all()
    assert weights.argmax(1).tolist() == list(range(12))
    np.testing.assert_allclose(core(10**6)(same, same, v, mask), 1 / 12, rtol=1e-4)


def test_queries_without_a_key_give_zero():
    q, k, v = np.abs(normal(3, 1, 12, 3, 4))
    core = subject("cosformer").module.core
    assert not np.asarray(core(q, -k, v, np.ones((1, 12), bool))).any()


def test_an_epsilon_of_zero_is_refused():
    with pytest.raises(UsageError, match=r"cosformer\.epsilon = 0"):
        subject("cosformer", epsilon=0.0)
