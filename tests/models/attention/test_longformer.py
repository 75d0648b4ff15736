"""longformer: window and global tokens, each key once, and what their absence leaves."""

import gin
import jax
import numpy as np
import pytest
from flax import nnx

from lra.check.oracle import differences
from lra.check.subject import Subject, masks
from lra.errors import UsageError
from lra.models.attention import VARIANTS


def subject(name: str = "longformer", **options) -> Subject:
    for key, value in options.items():
        gin.bind_parameter(f"{name}.{key}", value)
    return Subject(VARIANTS[name])


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
    s = subject(**options)
    for length in lengths:
        assert not list(differences(s, masks(length)))


def count(s: Subject) -> int:
    return sum(x.size for x in jax.tree.leaves(s.params))


def test_parameters():
    """Seven projections, of which four are left without a global token."""
    assert count(subject()) == 7 * 10 * 12
    assert count(subject(global_tokens=0)) == 4 * 10 * 12


def test_without_global_tokens_it_is_local():
    x, mask = np.random.default_rng(0).normal(size=(6, 13, 10)).astype(np.float32), masks(13)
    ours, local = subject(radius=3, global_tokens=0), subject("local", radius=3)
    params = dict(nnx.to_flat_state(ours.params))
    assert set(params) == set(dict(nnx.to_flat_state(local.params)))
    np.testing.assert_allclose(ours(x, mask)[mask], local.compiled(ours.params, x, mask)[mask], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["radius", "global_tokens"])
def test_impossible_options_are_refused(name):
    with pytest.raises(UsageError, match=rf"longformer\.{name} = -1"):
        subject(**{name: -1})
