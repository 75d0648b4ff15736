"""mamba2: its formula, how it begins, and its two directions."""

import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import Subject, masks, normal
from lra.errors import UsageError

from ..core import assert_equals_oracle, changed, subject

X, MASK = normal(6, 13, 10), masks(13)


@parametrize_with_checks(["mamba2"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(
    ("options", "lengths"), [({"state": 4}, [1, 3, 13]), ({"state": 3, "expand": 1, "conv": 1}, [7, 16])], ids=str
)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("mamba2", **options), *lengths)


def test_directions_of_the_same_parameters_are_symmetric():
    def copy(name: str, x: np.ndarray) -> np.ndarray:
        if "into" in name:  # the last columns are dt of the three heads, forward and backward
            return np.concatenate([x[:, :-3], x[:, -6:-3]], 1)
        if "'conv'" in name:
            return np.stack([x[:, 0], x[:, 0]], 1)
        return np.stack([x[0], x[0]]) if x.shape[0] == 2 and x.ndim == 2 else x

    s = changed(subject("mamba2", state=4), copy)
    np.testing.assert_allclose(s(X, MASK)[MASK], s(X[:, ::-1], MASK[:, ::-1])[:, ::-1][MASK], rtol=1e-4, atol=1e-5)


def test_without_input_to_the_state_the_skip_is_left():
    """dt = 0 and a convolution that reads its own token alone: y = 2 D silu(x), once for each direction."""

    def change(name: str, x: np.ndarray) -> np.ndarray:
        if "dt_bias" in name:
            return np.full_like(x, -1e4)
        return np.zeros_like(x) if "conv_bias" in name else np.ones_like(x) if "conv" in name or "skip" in name else x

    s = changed(subject("mamba2", state=4, expand=1, conv=1), change)
    silu = lambda y: y / (1 + np.exp(-y))
    z, x = np.split(np.asarray(s.module.into(X)), [12, 24], -1)[:2]
    y = 2 * silu(x) * silu(z)
    y = y / np.sqrt(np.square(y).mean(-1, keepdims=True) + 1e-5) * s.module.norm.scale.get_value()
    np.testing.assert_allclose(s(X, MASK)[MASK], np.asarray(s.module.out(y))[MASK], rtol=1e-4, atol=1e-5)


def test_begins_in_the_ranges_of_the_authors():
    s = subject("mamba2", heads=50, head_dim=2)
    layer = Subject(s.variant, s.shape, s.options, scatter=0.0).module
    dt, a = np.log1p(np.exp(layer.dt_bias.get_value())), np.exp(layer.log_a.get_value())
    assert 1e-3 <= dt.min() < 2e-3
    assert 5e-2 < dt.max() <= 1e-1
    assert 1 <= a.min() < 2
    assert 15 < a.max() <= 16
    assert (layer.skip.get_value() == 1).all()


@pytest.mark.parametrize("option", ["state", "expand", "conv"])
def test_impossible_sizes_are_refused(option):
    with pytest.raises(UsageError, match=rf"mamba2\.{option} = 0"):
        subject("mamba2", **{option: 0})
