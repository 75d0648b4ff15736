"""b2s6: its formula, its blocks and its bias."""

import jax
import numpy as np
import pytest
from flax import nnx

from lra.checks import parametrize_with_checks
from lra.checks.subject import Subject, masks, normal
from lra.errors import UsageError
from lra.models.attention import VARIANTS, Shape

from ..core import assert_equals_oracle, subject

X, MASK = normal(6, 13, 10), masks(13)


@parametrize_with_checks(["b2s6"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(
    ("options", "lengths"),
    [({"state": 2, "blocks": 3}, [1, 13]), ({"state": 1, "blocks": 1, "expand": 1, "conv": 1}, [7])],
    ids=str,
)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("b2s6", **options), *lengths)


def test_one_real_block_without_bias_is_mamba():
    """Its B and C, its A for all channels, and a projection to steps of rank 1."""
    shape = Shape(10, 12, 3, 24)
    ours, mamba = (VARIANTS[name].build(shape, nnx.Rngs(0), VARIANTS[name].options(**options)) for name, options in (
        ("b2s6", {"state": 3, "blocks": 1}), ("mamba", {"state": 3}),
    ))  # fmt: skip
    mamba.dt.set_value(np.ones_like(mamba.dt.get_value()))
    select = np.asarray(mamba.select.get_value())
    ours.dt.set_value(select[:, None, :, 0])
    ours.dt_bias.set_value(mamba.dt_bias.get_value()[:, None])
    for kernel, columns in ((ours.b, slice(1, 4)), (ours.c, slice(4, 7))):
        kernel.set_value(np.stack([select[:, None, :, columns], np.zeros_like(select[:, None, :, columns])]))
    ours.log_decay.set_value(mamba.log_a.get_value()[:, :, 0])
    for parameter in (ours.frequency, ours.bias):
        parameter.set_value(np.zeros_like(parameter.get_value()))
    for name in ("into", "out", "conv", "conv_bias", "skip"):
        setattr(ours, name, getattr(mamba, name))
    np.testing.assert_allclose(ours(X, MASK)[MASK], mamba(X, MASK)[MASK], rtol=1e-4, atol=1e-5)


def test_begins_as_s4d():
    s = subject("b2s6", heads=8, head_dim=20, state=5)
    layer = Subject(s.variant, s.shape, s.options, scatter=0.0).module
    dt = np.log1p(np.exp(layer.dt_bias.get_value()))
    assert 1e-3 <= dt.min() < 2e-3
    assert 5e-2 < dt.max() <= 1e-1
    np.testing.assert_allclose(layer.frequency.get_value(), [np.pi * np.arange(5)] * 2, rtol=1e-6)
    np.testing.assert_allclose(np.exp(layer.log_decay.get_value()), 0.5, rtol=1e-6)
    real, imaginary = layer.bias.get_value()
    assert (real == 1).all()
    assert not imaginary.any()


def test_parameters():
    """W_in and W_out; of each direction: convolution with bias, D, steps; B, C, their bias, complex; and A."""
    count = sum(x.size for x in jax.tree.leaves(subject("b2s6", state=2, blocks=3).params))
    width = 24
    assert count == 3 * 10 * width + 2 * (width * (4 + 1 + 1 + 1 + 1) + 2 * 2 * width * 3 + 2 * 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state": 0}, r"b2s6\.state = 0"),
        ({"blocks": 0}, r"b2s6\.blocks = 0"),
        ({"blocks": 5}, r"b2s6\.blocks = 5 does not divide the inner width of 24"),
        ({"expand": 0}, r"b2s6\.expand = 0"),
        ({"conv": 0}, r"b2s6\.conv = 0"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        subject("b2s6", **options)
