"""lru: the recurrence, and the ring on which it begins."""

import jax
import numpy as np
import pytest
from flax import nnx

from lra.checks import parametrize_with_checks
from lra.errors import UsageError

from ..core import assert_equals_oracle, subject


@parametrize_with_checks(["lru"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(
    ("options", "lengths"),
    [
        ({"state": 5}, [1, 17]),
        ({"r_min": 0.9, "r_max": 0.999, "max_phase": 0.3}, [16]),
        ({"state": 1, "half_glu": True}, [6]),
    ],
    ids=str,
)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("lru", **options), *lengths)


def begin(**options) -> dict[str, np.ndarray]:
    s = subject("lru", **options)
    module = s.variant.build(s.shape, nnx.Rngs(0), s.options)
    return {name: np.float64(getattr(module, name).get_value()) for name in ("nu", "theta", "log_gamma")}


def test_begins_on_the_ring():
    w = begin(state=4000, r_min=0.6, r_max=0.8, max_phase=1.5)
    square, phase = np.exp(-2 * np.exp(w["nu"])), np.exp(w["theta"])
    for values, low, high in ((square, 0.36, 0.64), (phase, 0, 1.5)):
        assert low <= values.min() < values.max() <= high + 1e-6
        share = np.histogram(values, 4, (low, high + 1e-6))[0] / len(values)
        np.testing.assert_allclose(share, 0.25, atol=0.03)
    np.testing.assert_allclose(np.exp(2 * w["log_gamma"]), 1 - square, rtol=1e-4)


@pytest.mark.parametrize("r_max", [0.9999, 1.0])
def test_begins_finite_near_the_circle(r_max):
    w = begin(state=10_000, r_min=0.0 if r_max == 1 else 0.999, r_max=r_max)
    assert all(np.isfinite(x).all() for x in w.values())


@pytest.mark.parametrize(("half", "dense"), [(True, 10 * 10 + 10), (False, 10 * 20 + 20)])
def test_parameters(half, dense):
    """B and C of two ways, complex, D, three numbers for each state, and the GLU."""
    count = sum(x.size for x in jax.tree.leaves(subject("lru", state=5, half_glu=half).params))
    assert count == 6 * 5 * 10 + 10 + 3 * 5 + dense


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state": 0}, r"lru\.state = 0"),
        ({"r_max": 1.1}, r"lru\.r_max = 1\.1"),
        ({"r_min": 0.9, "r_max": 0.9}, r"lru\.r_min = 0\.9"),
        ({"max_phase": 0.0}, r"lru\.max_phase = 0\.0"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        subject("lru", **options)
