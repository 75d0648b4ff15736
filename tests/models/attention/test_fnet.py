"""fnet: its transform."""

import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import normal

from ..core import assert_equals_oracle, subject


@parametrize_with_checks(["fnet"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(("max_length", "lengths"), [(24, [1, 7, 24]), (13, [13]), (1, [1])])
def test_equals_the_formula(max_length, lengths):
    assert_equals_oracle(subject("fnet", max_length), *lengths)


def test_twice_is_the_mean_of_the_tokens_and_their_reflection():
    """cos^2 + sin^2 = 1 in both directions; the reflection takes token n, channel c to -n, -c."""
    s, x, mask = subject("fnet"), normal(2, 24, 10), np.ones((2, 24), bool)
    reflected = np.roll(x[:, ::-1, ::-1], (1, 1), (1, 2))
    once = s(x, mask)
    np.testing.assert_allclose(s(once, mask), (x + reflected) / 2, atol=1e-5)
    np.testing.assert_allclose(s(reflected, mask), once, atol=1e-5)


def test_has_no_parameters():
    assert not subject("fnet").weights(subject("fnet").params)
