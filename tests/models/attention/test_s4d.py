"""s4d: its kernels, and where they begin."""

import jax
import numpy as np
import pytest
from flax import nnx

from lra.checks import parametrize_with_checks
from lra.errors import UsageError
from lra.models.attention.s4d import INITS

from ..core import assert_equals_oracle, subject


@parametrize_with_checks(["s4d"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(
    ("options", "lengths"),
    [
        ({"state": 4}, [1, 16, 19]),
        ({"state": 2, "init": "inv", "step_min": 0.5, "step_max": 0.5}, [5]),
        ({"state": 6, "init": "legs"}, [2]),
        ({"state": 8, "init": "dfout"}, [18]),
    ],
    ids=str,
)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("s4d", **options), *lengths)


def begin(init: str, state: int) -> nnx.Module:
    s = subject("s4d", init=init, state=state)
    return s.variant.build(s.shape, nnx.Rngs(0), s.options)


@pytest.mark.parametrize("init", INITS)
def test_begins_where_the_papers_say(init):
    """The discrete Fourier domain is the roots of unity, in each channel turned by a part of the angle between two."""
    module = begin(init, 8)
    frequency = {
        "lin": np.pi * np.array([0, 1, 2, 3]),
        "inv": 8 / np.pi * np.array([8 - 1, 8 / 3 - 1, 8 / 5 - 1, 8 / 7 - 1]),
        "legs": np.sort(np.linalg.eigvals(normal_part(8)).imag)[4:],
        "dfout": [[2 * np.pi * (n + h / 10) / 8 for n in range(4)] for h in range(10)],
    }[init]
    np.testing.assert_allclose(module.frequency.get_value(), np.broadcast_to(frequency, (10, 4)), rtol=1e-5)
    np.testing.assert_allclose(np.exp(module.log_decay.get_value()), 0.5, rtol=1e-6)
    step = np.exp(module.log_step.get_value())
    assert 1e-3 <= step.min() < step.max() <= 0.1


def normal_part(size: int) -> np.ndarray:
    """HiPPO-LegS plus the part of rank one that makes it a normal matrix."""
    n = np.arange(size)
    root = np.sqrt(2 * n + 1)
    legs = -np.outer(root, root) * (n[:, None] > n) - np.diag(n + 1.0)
    return legs + np.outer(root, root) / 2


def test_parameters():
    """A, C of two ways, complex, step, D, and the GLU with its bias."""
    count = sum(x.size for x in jax.tree.leaves(subject("s4d", state=8).params))
    assert count == 3 * 8 * 10 + 10 + 10 + 10 * 20 + 20


def test_a_token_counts_once():
    """One token alone sees lag 0 of the forward kernel, whatever the backward one is."""
    s, x, mask = subject("s4d"), np.ones((1, 1, 10), np.float32), np.ones((1, 1), bool)
    params = jax.tree.map(lambda leaf: leaf, s.params)
    leaf = params[0]["c"]
    leaf.set_value(leaf.get_value().at[:, 1].set(7.0))
    np.testing.assert_array_equal(s.compiled(params, x, mask), s(x, mask))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state": 0}, r"s4d\.state = 0"),
        ({"state": 3}, r"s4d\.state = 3"),
        ({"init": "real"}, r"s4d\.init = 'real' is none of lin, inv, legs, dfout"),
        ({"step_min": 0.0}, r"s4d\.step_min = 0\.0"),
        ({"step_min": 0.2}, r"s4d\.step_max = 0\.1"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        subject("s4d", **options)
