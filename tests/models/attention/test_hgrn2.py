"""hgrn2: its formula in each layer, its lower bounds, and its symmetry."""

import jax
import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import Subject, masks, normal
from lra.models.attention import VARIANTS

from ..core import assert_equals_oracle, subject

X, MASK = normal(6, 13, 10), masks(13)


@parametrize_with_checks(["hgrn2"])
def test_is_what_it_says(check):
    check()


def with_gamma(s: Subject, rows):
    """The output function of a layer with the given Gamma."""
    change = lambda path, x: np.float32(np.broadcast_to(rows, x.shape)) if "gamma" in str(path) else x
    params = jax.tree_util.tree_map_with_path(change, s.params)
    return lambda x, mask: np.asarray(s.compiled(params, x, mask))


@pytest.mark.parametrize(("layer", "layers", "lengths"), [(0, 1, [1, 13]), (0, 2, [3]), (2, 3, [1, 16]), (1, 3, [13])])
def test_equals_the_formula(layer, layers, lengths):
    assert_equals_oracle(subject("hgrn2", layer=layer, layers=layers), *lengths)


def test_the_first_layer_owns_gamma_and_hands_it_on_as_it_is():
    assert subject("hgrn2").module.gamma is None
    first = subject("hgrn2", layer=0, layers=3).module
    second = subject("hgrn2", layer=1, layers=3).module
    gamma = first.gamma.get_value()
    assert gamma.shape == (3, 12)
    assert second.gamma is None
    for module, carry in ((first, None), (second, gamma)):
        np.testing.assert_array_equal(VARIANTS["hgrn2"].mix(module, X, MASK, carry)[1], gamma)


def test_a_layer_that_forgets_nothing_takes_nothing_in():
    """A lower bound of 1 means f = 1: the state stays 0, and the output is the norm's bias."""
    s = subject("hgrn2", layer=1, layers=2)
    out = with_gamma(s, [[80.0], [-80.0]])(X, MASK)
    left = np.asarray(s.module.out(s.module.norm.bias.get_value()))
    np.testing.assert_allclose(out[MASK], np.broadcast_to(left, out[MASK].shape), rtol=1e-5, atol=1e-6)


def test_a_lower_bound_of_none_is_the_first_layer():
    second, first = subject("hgrn2", layer=1, layers=2), subject("hgrn2")
    params = type(second.params)({0: second.params[0], 1: first.params[0]})
    change = lambda path, x: np.float32([[-80.0], [80.0]] * np.ones(12, "f4")) if "gamma" in str(path) else x
    out = second.compiled(jax.tree_util.tree_map_with_path(change, params), X, MASK)
    np.testing.assert_allclose(np.asarray(out)[MASK], first(X, MASK)[MASK], rtol=1e-5, atol=1e-6)


def test_tokens_in_reverse_give_the_outputs_in_reverse():
    s = subject("hgrn2", layer=1, layers=2)
    np.testing.assert_allclose(s(X, MASK)[MASK], s(X[:, ::-1], MASK[:, ::-1])[:, ::-1][MASK], rtol=1e-5, atol=1e-6)


def test_padding_between_tokens_is_as_if_it_were_not_there():
    s, real = subject("hgrn2", layer=1, layers=2), MASK[-1]
    np.testing.assert_allclose(
        s(X, MASK)[-1, real], s(X[-1:, real], np.ones((1, real.sum()), bool))[0], rtol=1e-5, atol=1e-6
    )
