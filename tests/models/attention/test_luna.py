"""luna: its two attentions, and the sequence that goes from layer to layer."""

import jax
import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal
from lra.errors import UsageError

from ..core import assert_equals_oracle, subject


@parametrize_with_checks(["luna"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(
    ("layer", "layers", "packed", "lengths"), [(0, 1, 4, [1, 13]), (1, 2, 20, [7]), (2, 4, 3, [9]), (0, 2, 1, [5])]
)
def test_equals_the_formula(layer, layers, packed, lengths):
    assert_equals_oracle(subject("luna", layer=layer, layers=layers, packed=packed), *lengths)


def count(layer: int, layers: int) -> int:
    """The parameters of a layer and the layers below it."""
    return sum(x.size for x in jax.tree.leaves(subject("luna", layer=layer, layers=layers, packed=4).params))


def test_parameters():
    """Three projections between dim and qkv_dim, two within, P in the first layer, the norm in all but the last."""
    projections, p, norm = 3 * 10 * 12 + 2 * 12 * 12, 4 * 12, 2 * 12
    assert count(0, 1) == projections + p
    assert count(2, 3) == 3 * projections + p + 2 * norm


def test_one_packed_vector_is_unpacked_to_every_token():
    y = subject("luna", packed=1)(normal(6, 13, 10), masks(13))
    np.testing.assert_allclose(y, np.broadcast_to(y[:, :1], y.shape), atol=1e-6)


def test_an_empty_sequence_is_refused():
    with pytest.raises(UsageError, match=r"luna\.packed = 0"):
        subject("luna", packed=0)
