"""hgrn: its formula in each layer, its angles, and its lower bounds."""

import jax
import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import Subject, masks, normal
from lra.models.attention import VARIANTS

from ..core import assert_equals_oracle, subject

X, MASK = normal(6, 13, 10), masks(13)


@parametrize_with_checks(["hgrn"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(("layer", "layers", "lengths"), [(0, 1, [1, 13]), (0, 2, [3]), (2, 3, [16])])
def test_equals_the_formula(layer, layers, lengths):
    assert_equals_oracle(subject("hgrn", layer=layer, layers=layers), *lengths)


def changed(s: Subject, name: str, change) -> np.ndarray:
    """The output of a layer with other values of the parameters of a name."""
    new = lambda path, x: np.float32(change(np.asarray(x))) if name in jax.tree_util.keystr(path) else x
    return np.asarray(s.compiled(jax.tree_util.tree_map_with_path(new, s.params), X, MASK))


def test_the_first_layer_owns_gamma_and_hands_it_on_as_it_is():
    first, second = (subject("hgrn", layer=layer, layers=3).module for layer in (0, 1))
    gamma = first.gamma.get_value()
    assert gamma.shape == (3, 12)
    assert second.gamma is None
    for module, carry in ((first, None), (second, gamma)):
        np.testing.assert_array_equal(VARIANTS["hgrn"].mix(module, X, MASK, carry)[1], gamma)


def test_a_layer_that_forgets_nothing_takes_nothing_in():
    """A lower bound of 1 means f = 1: the states stay 0, and the norm leaves its bias to the gate."""
    s = subject("hgrn", layer=1, layers=2)
    out = changed(s, "gamma", lambda gamma: np.broadcast_to([[80.0], [-80.0]], gamma.shape))
    gate = np.asarray(s.module.gate(X))
    left = s.module.out(s.module.norm.bias.get_value() * gate / (1 + np.exp(-gate)))
    np.testing.assert_allclose(out[MASK], np.asarray(left)[MASK], rtol=1e-4, atol=1e-5)


def test_tokens_in_reverse_swap_the_angles():
    s = subject("hgrn", layer=1, layers=2)
    swapped = changed(s, "theta", lambda theta: theta[::-1])
    np.testing.assert_allclose(swapped[MASK], s(X[:, ::-1], MASK[:, ::-1])[:, ::-1][MASK], rtol=1e-4, atol=1e-5)


def test_angles_count_modulo_a_turn():
    s = subject("hgrn")
    turned = changed(s, "theta", lambda theta: theta - 2 * np.pi)
    np.testing.assert_allclose(turned[MASK], s(X, MASK)[MASK], rtol=1e-4, atol=1e-5)


def test_angles_begin_as_the_authors_do():
    theta = np.asarray(Subject(VARIANTS["hgrn"], scatter=0.0).module.theta.get_value())
    np.testing.assert_allclose(theta[0], 10_000 ** (-2 * np.arange(32) / 32), rtol=1e-5)
    np.testing.assert_array_equal(theta[0], theta[1])


def test_padding_between_tokens_is_as_if_it_were_not_there():
    s, real = subject("hgrn", layer=1, layers=2), MASK[-1]
    alone = s(X[-1:, real], np.ones((1, real.sum()), bool))[0]
    np.testing.assert_allclose(s(X, MASK)[-1, real], alone, rtol=1e-4, atol=1e-5)
