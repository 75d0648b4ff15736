"""deltaproduct: its formula, and its steps."""

import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal
from lra.errors import UsageError

from ..core import assert_equals_oracle, subject


@parametrize_with_checks(["deltaproduct"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(("options", "lengths"), [({}, [1, 13]), ({"steps": 3, "negative": False}, [7])], ids=str)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("deltaproduct", **options), *lengths)


def test_one_step_is_deltanet():
    x, mask, one = normal(6, 13, 10), masks(13), subject("deltanet")
    out = np.asarray(subject("deltaproduct", steps=1, negative=False).compiled(one.params, x, mask))
    np.testing.assert_allclose(out[mask], one(x, mask)[mask], rtol=1e-5, atol=1e-6)


def test_no_steps_are_refused():
    with pytest.raises(UsageError, match=r"deltaproduct\.steps = 0"):
        subject("deltaproduct", steps=0)
