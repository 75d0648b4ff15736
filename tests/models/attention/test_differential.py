"""differential: its two maps, and what lambda does."""

import jax
import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal
from lra.errors import UsageError

from ..core import assert_equals_oracle, subject

X, MASK = normal(6, 13, 10), masks(13)


@parametrize_with_checks(["differential"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(("layer", "lengths"), [(0, [1, 13]), (2, [7])])
def test_equals_the_formula(layer, lengths):
    assert_equals_oracle(subject("differential", heads=4, layer=layer, layers=3), *lengths)


def heads_of(s, change):
    """The output between the projections, the parameters changed; `change` maps the name and value of each."""
    named = lambda path, x: np.float32(change(jax.tree_util.keystr(path), np.asarray(x)))
    s.params = jax.tree_util.tree_map_with_path(named, s.params)
    return s(X, MASK)[MASK]


def test_equal_groups_leave_softmax_attention():
    """O = (1 - lambda) softmax(q k^T) v, and the norm takes the factor away, but for epsilon."""
    twice = lambda x: np.concatenate([x[:, :4], x[:, :4], x[:, 8:12], x[:, 8:12]], 1)
    outputs = []
    for weight in (0.0, 0.9):

        def change(name, x, weight=weight):
            if "'q'" in name or "'k'" in name:
                return twice(x)
            if "_weights" in name:
                return np.full_like(x, weight) * np.array([[0.0], [1.0]])  # lambda = 1 - exp(4 * 0.81) + 0.2 is below 0
            return 10 * x if "'v'" in name else x

        outputs.append(heads_of(subject("differential", heads=4), change))
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=2e-3, atol=1e-4)


def test_an_odd_number_of_heads_is_refused():
    with pytest.raises(UsageError, match=r"encoder\.heads = 3 is odd"):
        subject("differential", heads=3)
