"""h_transformer_1d: its formula at lengths around powers of two, and where it is plain attention."""

import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal
from lra.errors import UsageError

from ..core import assert_equals_oracle, subject, with_weights_of


@parametrize_with_checks(["h_transformer_1d"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(("block", "lengths"), [(2, [1, 5, 17]), (6, [24])])
def test_equals_the_formula(block, lengths):
    assert_equals_oracle(subject("h_transformer_1d", block=block), *lengths)


def test_two_blocks_are_softmax_attention():
    x, mask, dense = normal(6, 24, 10), masks(24), subject("transformer")
    out = with_weights_of(subject("h_transformer_1d", block=12), dense)(x, mask)
    np.testing.assert_allclose(out[mask], dense(x, mask)[mask], rtol=1e-4, atol=1e-5)


def test_groups_of_equal_tokens_are_softmax_attention():
    """Where a group's tokens are the same, its mean stands for each of them. Groups of the third level have 4."""
    x, dense = np.repeat(normal(2, 4, 10), 4, 1), subject("transformer")
    mask = np.ones((2, 16), bool)
    out = with_weights_of(subject("h_transformer_1d", block=2), dense)(x, mask)
    np.testing.assert_allclose(out, dense(x, mask), rtol=1e-4, atol=1e-5)


def test_far_keys_are_seen_as_one():
    """The order of tokens in a group does not matter to queries that meet it as a whole."""
    x, mask, s = normal(1, 16, 10), np.ones((1, 16), bool), subject("h_transformer_1d", block=2)
    order = [*range(12), 15, 13, 12, 14]
    np.testing.assert_allclose(s(x[:, order], mask)[:, :8], s(x, mask)[:, :8], rtol=1e-4, atol=1e-5)
    assert np.abs(s(x[:, order], mask)[:, 8:12] - s(x, mask)[:, 8:12]).max() > 1e-3


@pytest.mark.parametrize("block", [0, 1, 3])
def test_blocks_without_halves_are_refused(block):
    with pytest.raises(UsageError, match=rf"h_transformer_1d\.block = {block}"):
        subject("h_transformer_1d", block=block)
