"""The statistics against SciPy, against enumeration, and against published examples."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lra.leaderboard import statistics

shares = st.lists(st.floats(0, 1), min_size=2, max_size=9)
outcomes = st.integers(1, 3).flatmap(
    lambda seeds: st.integers(1, 12).flatmap(
        lambda examples: st.tuples(
            *[st.lists(st.booleans(), min_size=seeds * examples, max_size=seeds * examples)] * 2
        ).map(lambda pair: tuple(np.array(answers).reshape(seeds, examples) for answers in pair))
    )
)


@given(shares)
def test_interval_is_students(values):
    interval = statistics.interval(values)
    error = stats.sem(values)
    if error == 0:
        assert interval.low == interval.high == pytest.approx(interval.mean)
    else:
        low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=error)
        np.testing.assert_allclose(interval, (np.mean(values), low, high), rtol=1e-9, atol=1e-12)


def test_one_value_has_no_interval():
    assert statistics.interval([0.5]) == (0.5, None, None)
    with pytest.raises(ValueError, match="no values"):
        statistics.interval([])


def test_interval_covers_the_truth_as_often_as_it_says():
    """95 % of 4,000 intervals of three values cover the truth; the standard error of that share is 0.34 points."""
    rng = np.random.default_rng(0)
    intervals = [statistics.interval(values) for values in rng.normal(0.4, 0.01, (4000, 3))]
    assert 0.94 < np.mean([low < 0.4 < high for _, low, high in intervals]) < 0.96


def test_interval_of_accuracies_is_cut():
    """Of 0.99, 1 and 1 Student's limits are 0.9823 and 1.0110; of their complements -0.0110 and 0.0177."""
    low, high = statistics.accuracy_interval([0.99, 1.0, 1.0])[1:]
    assert (low, high) == (pytest.approx(0.98232, abs=1e-5), 1.0)
    low, high = statistics.accuracy_interval([0.01, 0.0, 0.0])[1:]
    assert (low, high) == (0.0, pytest.approx(0.01768, abs=1e-5))
    assert statistics.accuracy_interval([0.5]) == (0.5, None, None)


@given(st.integers(1, 3000), st.floats(0, 1), st.floats(0.01, 0.99))
def test_floor_is_a_binomial_test(examples, accuracy, floor):
    right = round(accuracy * examples)
    p = stats.binomtest(right, examples, floor, alternative="greater").pvalue
    if abs(p - 0.001) > 1e-9:
        assert statistics.above_floor(right / examples, examples, floor) == (p < 0.001)


def test_floor_of_lras_listops():
    """Four of LRA's rows have learnt nothing: label 0 alone is 17.04 % of its examples."""
    published = {"Local": 15.82, "Linear": 16.13, "Sparse": 17.07, "Performer": 18.01, "Sinkhorn": 33.67}
    learnt = [name for name, value in published.items() if statistics.above_floor(value / 100, 2000, 0.1704)]
    assert learnt == ["Sinkhorn"]


def test_floor_by_example_takes_no_tokens_for_examples():
    """Examples whose 16 labels are all right or all wrong: in 2,000 draws at the floor 0.1 % seem to be above it."""
    rng, labels = np.random.default_rng(0), np.full(500, 16)
    draws = 16 * (rng.random((2000, 500)) < 0.5)
    assert np.mean([statistics.above_floor_by_example(right, labels, 0.5) for right in draws]) < 0.004
    one = 16 * (np.arange(500) < 300)  # 60 %: as 300 of 500 coins, 4.5 standard deviations
    assert statistics.above_floor_by_example(one, labels, 0.5)
    assert not statistics.above_floor_by_example(16 * (np.arange(500) < 280), labels, 0.5)  # 2.7


def test_floor_by_example_sees_what_all_examples_share():
    """9 of 16 labels in each example: independent tokens or not, luck does not do that 500 times."""
    assert statistics.above_floor_by_example(np.full(500, 9), np.full(500, 16), 0.5)
    assert not statistics.above_floor_by_example(np.full(500, 8), np.full(500, 16), 0.5)
    assert not statistics.above_floor_by_example(np.full(500, 7), np.full(500, 16), 0.5)


@settings(max_examples=60)
@given(outcomes)
def test_paired_counts_all_sign_changes(pair):
    """The test counts, one by one, every way to exchange the two models on some examples."""
    ours, theirs = pair
    difference = ours.sum(0, dtype=int) - theirs.sum(0, dtype=int)
    flips = np.array([*itertools.product((-1, 1), repeat=len(difference))])
    expected = np.mean(np.abs(flips @ difference) >= abs(difference.sum()))
    assert statistics.paired(ours, theirs) == pytest.approx(expected, abs=1e-12)
    assert statistics.paired(theirs, ours) == statistics.paired(ours, theirs)


@pytest.mark.parametrize(("examples", "gain"), [(50, 0.1), (2000, 0.03), (20_000, 0.01)])
def test_one_seed_is_mcnemars_test(examples, gain):
    rng = np.random.default_rng(examples)
    ours, theirs = rng.random((1, examples)) < 0.5 + gain, rng.random((1, examples)) < 0.5
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    expected = stats.binomtest(only_ours, only_ours + only_theirs).pvalue
    assert statistics.paired(ours, theirs) == pytest.approx(expected, rel=1e-6)


def test_many_seeds_and_examples_are_near_the_normal_law():
    rng = np.random.default_rng(1)
    ours, theirs = rng.random((5, 20_000)) < 0.502, rng.random((5, 20_000)) < 0.5
    difference = ours.sum(0, dtype=int) - theirs.sum(0, dtype=int)
    expected = 2 * stats.norm.sf(abs(difference.sum()) / np.sqrt((difference**2).sum()))
    assert statistics.paired(ours, theirs) == pytest.approx(expected, rel=0.02)


def test_seeds_of_an_example_are_no_independent_examples():
    """Three seeds that answer alike prove no more than one seed does."""
    rng = np.random.default_rng(2)
    ours, theirs = rng.random((1, 400)) < 0.56, rng.random((1, 400)) < 0.5
    one = statistics.paired(ours, theirs)
    assert statistics.paired(np.repeat(ours, 3, 0), np.repeat(theirs, 3, 0)) == pytest.approx(one, rel=1e-9)


def test_paired_keeps_its_level():
    """Of 2,000 comparisons of equal models about 5 % have p < 0.05; the test is discrete, so rather fewer."""
    rng = np.random.default_rng(3)
    hard = rng.random(200)  # examples differ in how hard they are, so the seeds' answers go together
    answers = rng.random((2000, 2, 3, 200)) < hard
    p_values = [statistics.paired(ours, theirs) for ours, theirs in answers]
    assert 0.03 < np.mean(np.array(p_values) < 0.05) < 0.06


def test_paired_refuses_what_is_not_paired():
    with pytest.raises(ValueError, match="not the same"):
        statistics.paired(np.ones((2, 5), bool), np.ones((1, 5), bool))


def test_holm_by_hand():
    """4 x 0.01 = 0.04; 3 x 0.02 = 0.06; 2 x 0.022 = 0.044, but not below the one before; 1 x 0.09."""
    assert statistics.holm([0.022, 0.01, 0.09, 0.02]) == pytest.approx([0.06, 0.04, 0.09, 0.06])
    assert statistics.holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_as_its_definition_says(p_values):
    """The smallest p is compared with alpha / n, the next with alpha / (n - 1), until one is not rejected."""
    alpha = 0.05
    rejected = set()
    for rank, place in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[place] > alpha / (len(p_values) - rank):
            break
        rejected.add(int(place))
    corrected = statistics.holm(p_values)
    close = any(abs(p - alpha / k) < 1e-12 for p in p_values for k in range(1, len(p_values) + 1))
    assert close or {place for place, p in enumerate(corrected) if p <= alpha} == rejected
    assert all(new >= old for new, old in zip(corrected, p_values))


@given(st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=2), min_size=1, max_size=6))
def test_borda_shares_all_points(scores):
    points = statistics.borda(np.array(scores, float))
    n = len(scores)
    assert points.sum() == n * (n - 1) / 2 * 2  # each pair gives one point on each of the two tasks
    for a, b in itertools.combinations(range(n), 2):
        if all(x > y for x, y in zip(scores[a], scores[b])):
            assert points[a] > points[b]


def test_borda_of_an_example():
    """Three rows, two tasks: first and second; second and first; last on both, tied with the first on one."""
    assert statistics.borda(np.array([[3.0, 2], [2, 3], [1, 2]])).tolist() == [2.5, 3.0, 0.5]
    assert statistics.ranks([2.5, 3.0, 0.5, 2.5]) == [2, 1, 4, 2]
