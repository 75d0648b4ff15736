"""mlp_mixer: its formula, and that all channels have the same weights."""

import jax
import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal
from lra.errors import UsageError

from ..core import assert_equals_oracle, subject


@parametrize_with_checks(["mlp_mixer"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(("options", "lengths"), [({}, [1, 13]), ({"tokens_mlp_dim": 3}, [24])], ids=str)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("mlp_mixer", **options), *lengths)


def test_channels_do_not_mix():
    x, mask, s = normal(6, 13, 10), masks(13), subject("mlp_mixer")
    order = np.random.default_rng(0).permutation(10)
    np.testing.assert_allclose(s(x[..., order], mask)[mask], s(x, mask)[..., order][mask], rtol=1e-5, atol=1e-6)


def test_parameters():
    """Two matrices of max_length x s and two biases; s is half of the width."""
    for options, hidden in (({}, 5), ({"tokens_mlp_dim": 3}, 3)):
        s = subject("mlp_mixer", **options)
        assert sum(x.size for x in jax.tree.leaves(s.params)) == 2 * 24 * hidden + hidden + 24


def test_no_hidden_units_are_refused():
    with pytest.raises(UsageError, match=r"mlp_mixer\.tokens_mlp_dim = 0"):
        subject("mlp_mixer", tokens_mlp_dim=0)
