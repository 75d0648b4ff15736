"""transnormer: its two attentions, and which layer has which."""

import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal
from lra.errors import UsageError

from ..core import assert_equals_oracle, subject, with_weights_of


@parametrize_with_checks(["transnormer"])
def test_is_what_it_says(check):
    check()


MASK = masks(13)


@pytest.mark.parametrize("kind", ["T1", "T2"])
@pytest.mark.parametrize(("layer", "lengths"), [(0, [1, 3, 13]), (1, [1, 13])])
def test_equals_the_formula(kind, layer, lengths):
    assert_equals_oracle(subject("transnormer", layer=layer, layers=2, kind=kind, block=5), *lengths)


@pytest.mark.parametrize(("layers", "diagonal"), [(1, 0), (2, 1), (3, 1), (4, 2)])
def test_the_first_half_of_the_layers_is_diagonal(layers, diagonal):
    cores = [subject("transnormer", layer=layer, layers=layers).module.core for layer in range(layers)]
    assert [core.diagonal for core in cores] == [layer < diagonal for layer in range(layers)]


def test_one_block_is_softmax_attention():
    x, dense = normal(6, 13, 10), subject("transformer")
    out = with_weights_of(subject("transnormer", layers=2, kind="T2", block=24), dense)(x, MASK)
    np.testing.assert_allclose(out[MASK], dense(x, MASK)[MASK], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "layer"), [("T1", 0), ("T1", 1), ("T2", 1)])
def test_normed_outputs_have_a_root_mean_square_of_one(kind, layer):
    q, k, v = 10 * normal(3, 2, 13, 3, 4)
    core = subject("transnormer", layer=layer, layers=2, kind=kind).module.core
    out = np.asarray(core(q, k, v, np.ones((2, 13), bool)))
    np.testing.assert_allclose(np.square(out).mean((2, 3)), 1, rtol=1e-4)


@pytest.mark.parametrize("options", [{"block": 0}, {"kind": "T3"}, {"epsilon": 0.0}], ids=str)
def test_impossible_options_are_refused(options):
    with pytest.raises(UsageError, match=rf"transnormer\.{next(iter(options))}"):
        subject("transnormer", **options)
