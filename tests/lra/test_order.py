"""The order of examples and the sizes of batches are laws: they hold for all sizes of a task, and for every seed."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lra.order import LEAST_SAVING, MOST_SIZES, UNIT, Order, padded_sizes, padded_to

WINDOWS = st.none() | st.integers(1, 5)


def lengths(examples: int) -> np.ndarray:
    return np.random.default_rng(examples).integers(0, 300, examples)


@given(examples=st.integers(1, 60), batch=st.integers(1, 25), seed=st.integers(0, 2**32 - 1), window=WINDOWS)
def test_every_epoch_has_every_example_once(examples, batch, seed, window):
    order = Order(lengths(examples), batch, window)
    stream = np.concatenate([order.rows(seed, step) for step in range(4 * examples // batch + 1)])
    for epoch in range(len(stream) // examples):
        assert sorted(stream[epoch * examples : (epoch + 1) * examples]) == list(range(examples))


def test_order_differs_by_seed_and_epoch():
    for window in (None, 1):
        order = Order(np.ones(50, int), 50, window)
        assert not np.array_equal(order.rows(0, 0), order.rows(0, 1))
        assert not np.array_equal(order.rows(0, 0), order.rows(1, 0))


def test_the_order_has_not_changed():
    """Records of runs stand on it."""
    assert Order(lengths(10), 4).rows(3, 1).tolist() == [3, 5, 9, 7]
    assert Order(lengths(10), 4, 2).rows(3, 1).tolist() == [7, 3, 9, 6]


@given(examples=st.integers(1, 400), batch=st.integers(1, 20), window=st.integers(1, 6), seed=st.integers(0, 99))
def test_the_batches_of_a_window_are_sorted_pieces_of_a_shuffled_epoch(examples, batch, window, seed):
    of = lengths(examples)
    plain, sorted_ = Order(of, batch), Order(of, batch, window)
    for epoch in range(2):
        first = -epoch * examples % batch
        whole = max(examples - first, 0) // batch
        shuffled, ours = plain.order_of_epoch(seed, epoch), sorted_.order_of_epoch(seed, epoch)
        assert np.array_equal(shuffled[:first], ours[:first])
        assert np.array_equal(shuffled[first + whole * batch :], ours[first + whole * batch :])
        batches = {tuple(ours[first + n * batch :][:batch].tolist()) for n in range(whole)}
        for start in range(0, whole, window):
            part = shuffled[first + start * batch : first + min(start + window, whole) * batch]
            part = sorted(part.tolist(), key=lambda row: of[row])  # Python's sort is stable too
            assert {tuple(part[n : n + batch]) for n in range(0, len(part), batch)} <= batches


def test_seeds_have_batches_of_about_one_length_at_a_step():
    of = np.random.default_rng(0).integers(500, 2000, 9600)
    longest = lambda order: np.array([[of[order.rows(seed, step)].max() for step in range(300)] for seed in range(3)])
    apart = lambda order: np.ptp(longest(order), axis=0).mean()
    assert apart(Order(of, 32, 50)) < 100
    of_one_batch = [np.ptp(of[Order(of, 32, 50).rows(0, step)]) for step in range(300)]
    assert np.mean(of_one_batch) < 100 < 1000 < np.ptp(of[Order(of, 32).rows(0, 0)])


@given(some=st.lists(st.integers(0, 400), min_size=1, max_size=40), more=st.integers(0, 100))
def test_no_other_sizes_leave_fewer_tokens(some, more):
    of, longest = np.array(some), max(*some, 1) + more
    sizes = padded_sizes(of, longest)
    padded = padded_to(sizes, of)
    assert list(sizes) == sorted(set(sizes))
    assert len(sizes) <= MOST_SIZES
    assert (padded >= of).all()
    assert max(sizes) <= longest
    assert all(size % UNIT == 0 or size == longest for size in sizes)
    ends = sorted({min(-(-max(length, 1) // UNIT) * UNIT, longest) for length in some})
    choices = [(*others, ends[-1]) for others in itertools.combinations(ends[:-1], len(sizes) - 1)]
    assert padded.sum() == min(padded_to(choice, of).sum() for choice in choices)


def test_a_size_more_is_worth_its_compilation():
    nearly = np.concatenate([np.full(99, 640), [64]])
    assert padded_sizes(nearly, 2000) == (640,)
    assert LEAST_SAVING < 1 - (50 * 640 + 50 * 64) / (100 * 640)
    assert padded_sizes(np.repeat([64, 640], 50), 2000) == (64, 640)
