"""cosformer2: its formula in the first and in later layers, and its symmetry."""

import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal

from ..core import assert_equals_oracle, subject


@parametrize_with_checks(["cosformer2"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(("layer", "lengths"), [(0, [1, 13]), (1, [7])])
def test_equals_the_formula(layer, lengths):
    assert_equals_oracle(subject("cosformer2", layer=layer, layers=2), *lengths)


@pytest.mark.parametrize("layer", [0, 1])
def test_tokens_in_reverse_give_the_outputs_in_reverse(layer):
    x, mask, s = normal(6, 13, 10), masks(13), subject("cosformer2", layer=layer, layers=2)
    np.testing.assert_allclose(s(x, mask)[mask], s(x[:, ::-1], mask[:, ::-1])[:, ::-1][mask], rtol=1e-4, atol=1e-5)


def test_only_the_first_layer_has_the_encoding_and_nothing_decays_after_it():
    """With angles of 0, positions are lost in later layers."""
    module = subject("cosformer2", layer=1, layers=2).module
    assert not hasattr(module, "weights")
    module.theta.set_value(0 * module.theta.get_value())
    x, mask, order = normal(1, 24, 10), np.ones((1, 24), bool), np.random.default_rng(0).permutation(24)
    np.testing.assert_allclose(module(x[:, order], mask), module(x, mask)[:, order], rtol=1e-4, atol=1e-5)


def test_the_encoding_is_added_to_the_output_too():
    """Where nothing passes the gate, only the encoding is left: of tokens of 1, the sum of its kernel."""
    module = subject("cosformer2").module
    module.out.kernel.set_value(0 * module.out.kernel.get_value())
    decays = 1 / (1 + np.exp(-np.asarray(module.decays.get_value())))
    lags = abs(np.arange(5)[:, None] - np.arange(5))
    kernel = np.einsum("dn,tsn->td", module.weights.get_value(), decays ** lags[..., None])
    out = module(np.ones((1, 5, 10), np.float32), np.ones((1, 5), bool))
    np.testing.assert_allclose(out[0], kernel, rtol=1e-5, atol=1e-6)
