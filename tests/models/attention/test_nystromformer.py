"""nystromformer: its formula, and the attention that it approaches."""

import jax.numpy as jnp
import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal
from lra.errors import UsageError
from lra.models.attention.nystromformer import inverse

from ..core import assert_equals_oracle, subject


@parametrize_with_checks(["nystromformer"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(
    ("options", "lengths"),
    [
        ({"landmarks": 5, "kernel": 5}, [1, 13]),
        ({"landmarks": 24, "kernel": 1, "iterations": 2}, [6]),
        ({"landmarks": 1, "kernel": 35}, [24]),
        ({"landmarks": 50, "kernel": 7, "max_length": 11}, [11]),
    ],
    ids=str,
)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("nystromformer", **options), *lengths)


def test_with_every_token_a_landmark_it_becomes_softmax_attention():
    q, v = normal(2, 6, 12, 3, 4)
    q, mask = 5 * q, masks(12)  # of so large norms that the matrix to be inverted is not near a singular one
    core = subject("nystromformer", landmarks=24, iterations=25).module.core
    core.conv.set_value(0 * core.conv.get_value())
    exact = subject("transformer").module.core(q, q, v, mask)
    np.testing.assert_allclose(core(q, q, v, mask)[mask], np.asarray(exact)[mask], atol=2e-3)


def test_inverse():
    a = np.exp(np.float32(normal(4, 7, 7) + 3 * np.eye(7)))
    a /= a.sum(-1, keepdims=True)
    np.testing.assert_allclose(inverse(jnp.asarray(a), 12), np.linalg.inv(a), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("options", [{"landmarks": 0}, {"kernel": 4}, {"kernel": -1}, {"iterations": 0}], ids=str)
def test_impossible_options_are_refused(options):
    name, value = next(iter(options.items()))
    with pytest.raises(UsageError, match=rf"nystromformer\.{name} = {value}"):
        subject("nystromformer", **options)
