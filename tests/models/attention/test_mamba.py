"""mamba: its formula, how it begins, its two directions, and the parts that its channels are taken in."""

import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import Subject, masks, normal
from lra.errors import UsageError
from lra.models.attention import selective

from ..core import assert_equals_oracle, changed, subject

X, MASK = normal(6, 13, 10), masks(13)


@parametrize_with_checks(["mamba"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(
    ("options", "lengths"), [({"state": 3}, [1, 13]), ({"state": 1, "expand": 1, "conv": 1}, [7])], ids=str
)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("mamba", **options), *lengths)


def test_directions_of_the_same_parameters_are_symmetric():
    def copy(name: str, x: np.ndarray) -> np.ndarray:
        ways = 1 if "'conv'" in name else 0
        shared = "into" in name or "out" in name
        return x if shared else np.repeat(x.take([0], ways), 2, ways)

    s = changed(subject("mamba", state=3), copy)
    np.testing.assert_allclose(s(X, MASK)[MASK], s(X[:, ::-1], MASK[:, ::-1])[:, ::-1][MASK], rtol=1e-4, atol=1e-5)


def test_without_steps_the_skip_is_left():
    """dt = 0 and a convolution that reads its own token alone: y = 2 D silu(x), once for each direction."""

    def change(name: str, x: np.ndarray) -> np.ndarray:
        if "dt_bias" in name:
            return np.full_like(x, -1e4)
        return np.zeros_like(x) if "conv_bias" in name else np.ones_like(x) if "conv" in name or "skip" in name else x

    s = changed(subject("mamba", state=3, expand=1, conv=1), change)
    silu = lambda y: y / (1 + np.exp(-y))
    x, z = np.split(np.asarray(s.module.into(X)), 2, -1)
    y = s.module.out(2 * silu(x) * silu(z))
    np.testing.assert_allclose(s(X, MASK)[MASK], np.asarray(y)[MASK], rtol=1e-4, atol=1e-5)


def test_channels_may_be_taken_in_parts_of_any_size(monkeypatch):
    """24 channels, in parts of 16 and of 5."""
    y = subject("mamba", state=3)(X, MASK)
    monkeypatch.setattr(selective, "CHANNELS", 5)
    np.testing.assert_allclose(subject("mamba", state=3)(X, MASK), y, rtol=1e-5, atol=1e-6)


def test_begins_as_the_authors_do():
    s = subject("mamba", heads=50, head_dim=2)
    layer = Subject(s.variant, s.shape, s.options, scatter=0.0).module
    dt = np.log1p(np.exp(layer.dt_bias.get_value()))
    assert 1e-3 <= dt.min() < 2e-3
    assert 5e-2 < dt.max() <= 1e-1
    np.testing.assert_allclose(np.exp(layer.log_a.get_value())[1, :, 7], np.arange(1, 17), rtol=1e-5)
    assert layer.dt.get_value().shape == (2, 7, 200)  # the rank is 100 / 16, rounded up
    assert (layer.skip.get_value() == 1).all()


@pytest.mark.parametrize("option", ["state", "expand", "conv"])
def test_impossible_sizes_are_refused(option):
    with pytest.raises(UsageError, match=rf"mamba\.{option} = 0"):
        subject("mamba", **{option: 0})
