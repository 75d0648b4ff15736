"""deltanet: its formula, and what beta does."""

import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal
from lra.errors import UsageError

from ..core import assert_equals_oracle, changed, subject


@parametrize_with_checks(["deltanet"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(("options", "lengths"), [({}, [1, 13]), ({"conv": 1, "negative": True}, [7, 20])], ids=str)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("deltanet", **options), *lengths)


def test_ways_that_change_places_see_the_sequence_in_reverse():
    def change(name: str, x: np.ndarray) -> np.ndarray:
        if "conv" in name:
            return x[:, ::-1]
        return np.roll(x, x.shape[1] // 2, 1) if "beta" in name else x

    x, mask = normal(6, 13, 10), masks(13)
    expected = subject("deltanet")(x[:, ::-1], mask[:, ::-1])[:, ::-1]
    found = changed(subject("deltanet"), change)(x, mask)
    np.testing.assert_allclose(found[mask], expected[mask], rtol=1e-4, atol=1e-5)


def test_an_impossible_convolution_is_refused():
    with pytest.raises(UsageError, match=r"deltanet\.conv = 0 must be at least 1"):
        subject("deltanet", conv=0)
