"""tnl: its formula in each layer, its decays, and its symmetry."""

import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal
from lra.models.attention.tnl import slopes

from ..core import assert_equals_oracle, subject


@parametrize_with_checks(["tnl"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(("layer", "layers", "lengths"), [(0, 1, [1, 13]), (0, 3, [2, 16]), (1, 3, [7]), (2, 3, [13])])
def test_equals_the_formula(layer, layers, lengths):
    assert_equals_oracle(subject("tnl", layer=layer, layers=layers), *lengths)


def test_slopes_are_those_of_alibi():
    """Press et al. 2022, 2108.12409: from 1/2 to 1/256 for 8 heads; 12 heads take four of those for 16 heads."""
    np.testing.assert_allclose(slopes(8), 1 / np.array([2, 4, 8, 16, 32, 64, 128, 256]))
    np.testing.assert_allclose(slopes(12), [*slopes(8), *slopes(16)[0:8:2]])
    assert slopes(1).tolist() == [2**-8]


def test_angles_are_learned_in_the_first_layer_only():
    assert subject("tnl", layer=0, layers=2).module.theta.shape == (3, 4)
    assert subject("tnl", layer=1, layers=2).module.theta is None


@pytest.mark.parametrize("layer", [0, 1])
def test_tokens_in_reverse_give_the_outputs_in_reverse(layer):
    x, mask, s = normal(6, 13, 10), masks(13), subject("tnl", layer=layer, layers=2)
    np.testing.assert_allclose(s(x, mask)[mask], s(x[:, ::-1], mask[:, ::-1])[:, ::-1][mask], rtol=1e-4, atol=1e-5)


def test_the_last_layer_hardly_decays():
    x, s = normal(1, 24, 10), subject("tnl", layer=1, layers=2)
    mask, order = np.ones((1, 24), bool), np.random.default_rng(0).permutation(24)
    np.testing.assert_allclose(s(x[:, order], mask), s(x, mask)[:, order], rtol=1e-2, atol=1e-3)
