"""The fitted power of a cost, and the length from which one model beats another."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lra.leaderboard.scaling import Versus, crossing, fit

LENGTHS = st.lists(st.sampled_from([1 << power for power in range(6, 21)]), min_size=3, max_size=9, unique=True)


@given(LENGTHS, st.floats(0, 3), st.floats(1e-6, 1e6))
def test_a_power_law_is_found_and_has_no_uncertainty(lengths, power, factor):
    found = fit(lengths, [factor * length**power for length in lengths])
    assert found.power == pytest.approx(power, abs=1e-6)
    assert found.error == pytest.approx(0, abs=1e-6)
    assert found.low <= found.power <= found.high


@given(LENGTHS, st.floats(0, 3), st.data())
def test_the_interval_is_that_of_least_squares(lengths, power, data):
    noise = data.draw(st.lists(st.floats(-0.5, 0.5), min_size=len(lengths), max_size=len(lengths)))
    costs = [length**power * math.exp(off) for length, off in zip(lengths, noise)]
    found = fit(lengths, costs)
    (slope, _), covariance = np.polyfit(np.log(lengths), np.log(costs), 1, cov=True)
    half = stats.t.ppf(0.975, len(lengths) - 2) * covariance[0, 0] ** 0.5
    assert found.power == pytest.approx(slope, abs=1e-6)
    assert (found.low, found.high) == pytest.approx((slope - half, slope + half), abs=1e-5)


def test_two_lengths_give_a_power_without_an_interval_and_one_gives_none():
    assert fit([1024, 4096], [1.0, 16.0]) == (pytest.approx(2), None, None, None)
    assert fit([1024], [1.0]) is None


@given(st.floats(1.1, 3.9), st.sampled_from([1000, 1024]))
def test_the_crossing_of_two_power_laws_is_where_they_are_equal(place, first):
    """One costs L^2, the other L c with c so that they are equal at a length between two that were measured."""
    equal = first * 2**place
    found = crossing([Versus(first << step, (first << step) / equal) for step in range(6)])
    assert found.length == pytest.approx(equal)
    assert not found.first


@pytest.mark.parametrize(
    ("ratios", "spread", "length", "first"),
    [
        pytest.param([1.5, 2.0, 3.0], 0.1, 1000, True, id="wins everywhere"),
        pytest.param([0.5, 0.6, 0.9], 0.1, None, False, id="loses everywhere"),
        pytest.param([0.5, 0.5, 1.05], 0.1, None, False, id="a lead within the spread is none"),
        pytest.param([2.0, 2.0, 0.9], 0.0, None, False, id="a lead that is lost again"),
        pytest.param([0.5, 2.0, 4.0], 0.0, 1000 * 2**0.5, False, id="half of a doubling"),
        pytest.param([1.05, 2.0, 4.0], 0.1, 2000, False, id="a tie before: the first length that is won"),
        pytest.param([2.0, 0.5, 2.0], 0.0, 2000 * 2**0.5, False, id="the last crossing counts"),
        pytest.param([0.5, math.inf, math.inf], 0.0, 2000, False, id="the reference has ended"),
        pytest.param([2.0, 2.0, 0.0], 0.0, None, False, id="it has ended itself"),
        pytest.param([], 0.0, None, False, id="nothing to compare"),
    ],
)
def test_from_which_length_on(ratios, spread, length, first):
    rows = [Versus(1000 * 2**place, ratio, spread) for place, ratio in enumerate(ratios)]
    found = crossing(rows[::-1])
    assert found.length == (length if length is None else pytest.approx(length))
    assert found.first == first
