"""lamamba: its layers in turn."""

import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal
from lra.errors import UsageError

from ..core import assert_equals_oracle, subject

X, MASK = normal(6, 13, 10), masks(13)


@parametrize_with_checks(["lamamba"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(("layer", "lengths"), [(0, [13]), (1, [7]), (2, [1])])
def test_equals_the_formula(layer, lengths):
    assert_equals_oracle(subject("lamamba", layer=layer, layers=3, radius=2), *lengths)


def test_its_layers_are_mamba_and_local():
    """With the same parameters, the even layers are `mamba` without expansion, and the odd ones `local`."""
    for layer, other in (
        (0, subject("mamba", state=1, expand=1, conv=3)),
        (1, subject("local", radius=4)),
    ):
        s = subject("lamamba", layer=layer, layers=2, radius=4)
        s.params[0]["mixer"] = other.params[0]
        np.testing.assert_allclose(s.compiled(s.params, X, MASK), other(X, MASK), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("option", "value"), [("state", 0), ("conv", 0), ("radius", -1)])
def test_impossible_sizes_are_refused(option, value):
    with pytest.raises(UsageError, match=rf"lamamba\.{option} = {value}"):
        subject("lamamba", **{option: value})
