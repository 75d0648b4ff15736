"""mamba3: its formula, its angles, and its two directions."""

import jax
import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import Subject, masks, normal
from lra.errors import UsageError
from lra.models.attention import VARIANTS
from lra.models.attention.mamba3 import add_turns

from ..core import assert_equals_oracle, changed, subject

X, MASK = normal(6, 13, 10), masks(13)


@parametrize_with_checks(["mamba3"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(
    ("options", "lengths"), [({"state": 4}, [1, 3, 13]), ({"state": 9, "expand": 1}, [7])], ids=str
)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("mamba3", **options), *lengths)


def test_tokens_in_reverse_swap_the_directions():
    def swap(name: str, x: np.ndarray) -> np.ndarray:
        """The last columns of W_in are dt, A and lambda of three heads and one angle, forward and backward."""
        if "into" in name:
            return np.concatenate([x[:, :-20], x[:, -10:], x[:, -20:-10]], 1)
        return x[::-1] if x.shape[0] == 2 else x

    s = subject("mamba3", state=4)
    out = changed(subject("mamba3", state=4), swap)(X, MASK)
    np.testing.assert_allclose(out[MASK], s(X[:, ::-1], MASK[:, ::-1])[:, ::-1][MASK], rtol=1e-4, atol=1e-5)


def test_turns_keep_their_digits():
    """Ten thousand turns in 16,385 tokens: a plain sum in float32 would be off by a thousandth of a turn."""
    x = np.random.default_rng(0).uniform(0.2, 1.0, (1, 16385)).astype(np.float32)
    away = np.asarray(jax.jit(add_turns)(x), float) - np.cumsum(x, 1, dtype=float)
    assert np.abs(away - np.round(away)).max() < 2e-5


def test_begins_as_the_authors_do():
    layer = Subject(VARIANTS["mamba3"], scatter=0.0).module
    dt = np.log1p(np.exp(layer.dt_bias.get_value()))
    assert 1e-3 - 1e-6 <= dt.min() <= dt.max() <= 1e-1 + 1e-6
    for bias in (layer.b_bias, layer.c_bias, layer.skip):
        assert (bias.get_value() == 1).all()


@pytest.mark.parametrize(("option", "value"), [("state", 3), ("expand", 0)])
def test_impossible_sizes_are_refused(option, value):
    with pytest.raises(UsageError, match=rf"mamba3\.{option} = {value}"):
        subject("mamba3", **{option: value})
