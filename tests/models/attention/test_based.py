"""based: its features, and its layers in turn."""

import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal
from lra.errors import UsageError
from lra.models.attention.based import taylor

from ..core import assert_equals_oracle, subject

X, MASK = normal(6, 13, 10), masks(13)


@parametrize_with_checks(["based"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(("layer", "lengths"), [(0, [1, 13]), (1, [7]), (2, [3])])
def test_equals_the_formula(layer, lengths):
    assert_equals_oracle(subject("based", layer=layer, layers=3, features=3, radius=2), *lengths)


@pytest.mark.parametrize("size", [1, 2, 16])
def test_its_features_are_the_series_of_exp(size):
    """For 16 numbers they are 153, the count of the paper's code with each pair once."""
    a, b = normal(2, 50, size)
    u = (a * b).sum(-1) / size**0.5
    assert taylor(a).shape == (50, 1 + size + size * (size + 1) // 2)
    np.testing.assert_allclose((taylor(a) * taylor(b)).sum(-1), 1 + u + u**2 / 2, rtol=1e-4, atol=1e-5)


def test_windows_of_all_are_softmax_attention():
    dense = subject("transformer")
    out = subject("based", layer=1, layers=2, radius=12).compiled(dense.params, X, MASK)
    np.testing.assert_allclose(np.asarray(out)[MASK], dense(X, MASK)[MASK], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("option", "value"), [("features", 0), ("radius", -1)])
def test_impossible_sizes_are_refused(option, value):
    with pytest.raises(UsageError, match=rf"based\.{option} = {value}"):
        subject("based", **{option: value})
