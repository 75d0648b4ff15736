"""local: its windows."""

import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal
from lra.errors import UsageError

from ..core import assert_equals_oracle, subject


@parametrize_with_checks(["local"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(("radius", "lengths"), [(3, [1, 2, 12, 13]), (0, [4]), (20, [7])])
def test_equals_the_formula(radius, lengths):
    assert_equals_oracle(subject("local", radius=radius), *lengths)


def test_a_window_of_all_is_softmax_attention():
    x, mask, dense = normal(6, 24, 10), masks(24), subject("transformer")
    out = subject("local", radius=23).compiled(dense.params, x, mask)
    np.testing.assert_allclose(out[mask], dense(x, mask)[mask], rtol=1e-5, atol=1e-6)


def test_a_negative_radius_is_refused():
    with pytest.raises(UsageError, match=r"local\.radius = -1"):
        subject("local", radius=-1)
