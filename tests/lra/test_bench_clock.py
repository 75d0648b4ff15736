"""The clock's own test, on programs and clocks that are made up."""

import math

import numpy as np
import pytest
from scipy import stats

from lra.bench import clock, timing
from lra.cli import main


class World:
    """A time that programs spend, and the clock that shows it."""

    def __init__(self, shown=lambda true: true, noise=0.0):
        self.true, self.shown, self.noise = 0.0, shown, noise
        self.rng = np.random.default_rng(0)

    def __call__(self):
        return self.shown(self.true)

    def program(self, cost, launch=3e-3):
        def run(n):
            self.true += launch + cost(n) * math.exp(self.noise * self.rng.normal())
            return np.zeros(())

        return run

    def verdicts(self, once=lambda n: 1e-4 * n, twice=lambda n: 2e-4 * n, again=None, sleep=lambda n: clock.SLEEP * n):
        runs = clock.Programs(*map(self.program, (once, again or once, twice, sleep)))
        rows = clock.results(runs, self)
        return [(row["passed"], row["why"]) for row in rows]


def passed(verdicts):
    return [verdict for verdict, _ in verdicts]


def test_an_honest_clock_passes():
    assert World().verdicts() == [(True, "")] * 4
    assert passed(World(noise=0.003).verdicts()) == [True] * 4


def test_a_clock_that_goes_wrong_by_more_than_5_percent_fails_on_what_takes_a_known_time():
    assert passed(World(shown=lambda true: 1.04 * true).verdicts()) == [True] * 4
    (slept, why), *others = World(shown=lambda true: 1.06 * true).verdicts()
    assert not slept
    assert why == "off by +6.0%"
    assert passed(others) == [True] * 3, "ratios know nothing of the unit"


def test_time_that_is_not_in_proportion_to_the_work_fails():
    growing = World().verdicts(once=lambda n: 1e-6 * n**1.1, again=lambda n: 1e-6 * n**1.1)
    assert not growing[3][0]
    assert not World().verdicts(twice=lambda n: 1.85e-4 * n)[1][0], "an op that is done once where two were asked for"


def test_the_same_op_must_be_as_fast_as_itself_within_the_interval():
    verdicts = World(noise=1e-4).verdicts(again=lambda n: 1.02e-4 * n)
    assert verdicts[2] == (False, "the interval does not hold it")


def test_a_machine_that_is_busy_proves_nothing():
    spread = np.linspace(-0.2, 0.2, clock.ROUNDS)
    assert clock.verdict("the same", 1 + 0.2 * spread, 1.0)["passed"]
    assert "busy" in clock.verdict("the same", 1 + spread, 1.0)["why"]


@pytest.mark.parametrize("count", [8, 11, 15, 40])
def test_the_interval_of_a_median_is_that_of_the_binomial_test(count):
    numbers = np.random.default_rng(count).normal(size=count).tolist()
    low, high = stats.quantile_test(numbers, p=0.5).confidence_interval(timing.LEVEL)
    median = timing.median_of(numbers)
    assert (median.value, median.low, median.high) == (np.median(numbers), low, high)


def test_few_numbers_have_no_interval():
    assert timing.median_of([1.0, 2.0, 3.0]) == (2.0, -math.inf, math.inf)


@pytest.mark.parametrize(("slept", "said"), [(20.0, "passed"), (21.8, "FAILED: off by +9.0%")])
def test_the_command_says_passed_or_failed_and_ends_with_1_on_failure(tmp_path, monkeypatch, capsys, slept, said):
    monkeypatch.setattr(clock, "programs", lambda: None)
    monkeypatch.setattr(clock, "results", lambda *_: iter([clock.verdict("a sleep", np.full(15, slept), 20.0)]))
    assert main(["bench", "clock", "--results", str(tmp_path)]) == (0 if said == "passed" else 1)
    assert said in capsys.readouterr().out
