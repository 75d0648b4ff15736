"""longformer: window and global tokens, each key counted once, and the limits without one or the other."""

import jax
import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import Subject, masks, normal
from lra.errors import UsageError

from ..core import assert_equals_oracle, subject, with_weights_of


@parametrize_with_checks(["longformer"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(
    ("options", "lengths"),
    [
        ({"radius": 2, "global_tokens": 2}, [1, 2, 12, 13]),
        ({"radius": 3}, [11]),
        ({"radius": 0, "global_tokens": 4}, [9]),
        ({"radius": 2, "global_tokens": 0}, [7]),
        ({"radius": 30, "global_tokens": 1}, [5]),
    ],
    ids=str,
)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("longformer", **options), *lengths)


def count(s: Subject) -> int:
    return sum(x.size for x in jax.tree.leaves(s.params))


def test_parameters():
    """Seven projections, of which four are left without a global token."""
    assert count(subject("longformer")) == 7 * 10 * 12
    assert count(subject("longformer", global_tokens=0)) == 4 * 10 * 12


def test_without_global_tokens_it_is_local():
    x, mask, local = normal(6, 13, 10), masks(13), subject("local", radius=3)
    out = with_weights_of(subject("longformer", radius=3, global_tokens=0), local)(x, mask)
    np.testing.assert_allclose(out[mask], local(x, mask)[mask], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["radius", "global_tokens"])
def test_impossible_options_are_refused(name):
    with pytest.raises(UsageError, match=rf"longformer\.{name} = -1"):
        subject("longformer", **{name: -1})
