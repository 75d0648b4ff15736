"""s5: the state space model, where it begins, and what gaps in the mask do to it."""

import jax
import numpy as np
import pytest
from flax import nnx

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal
from lra.errors import UsageError
from lra.models.attention.state_space import complex_of, hippo

from ..core import assert_equals_oracle, subject


@parametrize_with_checks(["s5"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(
    ("options", "lengths"),
    [
        ({"state": 8, "blocks": 2}, [1, 16, 19]),
        ({"state": 2, "blocks": 1, "clip": False, "step_min": 0.5, "step_max": 0.5}, [5]),
        ({"blocks": 3}, [7]),
        ({"state": 4, "blocks": 1, "activation": "half_glu2"}, [9]),
    ],
    ids=str,
)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("s5", **options), *lengths)


def test_begins_as_the_normal_part_of_hippo():
    """HiPPO-LegS of Gu et al. 2020, without the part of rank one that S4 subtracts."""
    n = np.arange(6)
    legs = -np.sqrt(np.outer(2 * n + 1, 2 * n + 1)) * (n[:, None] > n) - np.diag(n + 1.0)
    part = np.sqrt(n + 0.5)
    eigenvalues, vectors = hippo(6)
    matrix = 2 * ((vectors * eigenvalues) @ vectors.conj().T).real
    np.testing.assert_allclose(matrix, legs + np.outer(part, part), atol=1e-12)
    s = subject("s5", state=12, blocks=2)
    module = s.variant.build(s.shape, nnx.Rngs(0), s.options)
    np.testing.assert_allclose(complex_of(module.eigenvalues), np.tile(eigenvalues, 2), rtol=1e-5)


def test_parameters():
    """B, C of two ways, the gate with its bias, D, and three numbers for each pair of states."""
    count = sum(x.size for x in jax.tree.leaves(subject("s5", state=8, blocks=2).params))
    assert count == 3 * 8 * 10 + 10 * 10 + 10 + 10 + 3 * 4


def test_gaps_are_closed():
    s, x, mask = subject("s5", state=8, blocks=2), normal(6, 13, 10), masks(13)
    row = 5
    real = x[row, mask[row]]
    alone = s(np.pad(real, [(0, 13 - len(real)), (0, 0)])[None], (np.arange(13) < len(real))[None])
    np.testing.assert_allclose(s(x, mask)[row, mask[row]], alone[0, : len(real)], rtol=1e-4, atol=1e-5)


def test_clip_keeps_the_state_from_growing():
    y = {}
    for clip in (True, False):
        s = subject("s5", state=2, blocks=1, clip=clip, step_min=1, step_max=1)
        params = jax.tree.map(lambda x: x, s.params)
        leaf = params[0]["eigenvalues"]
        leaf.set_value(leaf.get_value().at[0].set(2.0))
        y[clip] = np.abs(np.asarray(s.compiled(params, normal(1, 20, 10), np.ones((1, 20), bool)))).max()
    assert y[True] < 1e3 < 1e6 < y[False]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state": 8, "blocks": 8}, r"s5\.state = 8 does not divide into s5\.blocks = 8"),
        ({"blocks": 0}, r"s5\.blocks = 0"),
        ({"step_min": 0.0, "blocks": 3}, r"s5\.step_min = 0\.0"),
        ({"step_min": 0.2, "blocks": 3}, r"s5\.step_max = 0\.1"),
        ({"blocks": 3, "activation": "gelu"}, r"s5\.activation = 'gelu' is none of half_glu1, half_glu2"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        subject("s5", **options)
