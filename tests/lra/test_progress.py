"""The remaining time is that of all work: it is computed by hand here, with a clock that the tests turn."""

from types import SimpleNamespace

import pytest

from lra import progress
from lra.progress import Bar, Display


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def took(clock, seconds: float, bar: Bar, *work) -> float | None:
    """The seconds that are left after a report of work that took some time."""
    clock.now += seconds
    bar.advance(*work)
    return bar.seconds_left()


def test_the_remaining_time_has_the_evaluation_at_its_own_speed(clock):
    bar = Bar(Display(quiet=True), "run", 100, {"compilation": 1, "evaluation": 50})
    assert bar.seconds_left() is None
    assert took(clock, 30, bar, 1, "compilation") is None
    assert took(clock, 20, bar, 10) == 90 * 2 + 50 * 2  # not measured yet: as long as a step
    assert took(clock, 5, bar, 1, "evaluation") == 90 * 2 + 49 * 5
    assert took(clock, 3, bar, 1, "evaluation") == 90 * 2 + 48 * 4
    assert took(clock, 180, bar, 90) == 48 * 4  # what remains is the scoring
    assert took(clock, 192, bar, 48, "evaluation") == 0


def test_what_an_earlier_process_did_has_no_speed(clock):
    bar = Bar(Display(quiet=True), "run", 100, {"evaluation": 10})
    bar.skip(60)
    bar.skip(5, "evaluation")
    assert bar.seconds_left() is None
    assert took(clock, 30, bar, 10) == 30 * 3 + 5 * 3
    bar.skip_rest()
    assert bar.seconds_left() == 0


def test_the_bar_of_several_runs_has_all_that_they_still_do(clock):
    display, beside = Display(quiet=True), {"compilation": 1, "evaluation": 10}
    overall = Bar(display, "all runs", 300, {"compilation": 3, "evaluation": 30})
    with display.bar("recorded before", 100, beside, overall):
        pass
    with display.bar("first", 100, beside, overall) as first:
        took(clock, 40, first, 1, "compilation")
        assert took(clock, 50, first, 50) == 50 + 10
        assert overall.seconds_left() == 40 + 150 + 20
        took(clock, 50, first, 50)
        assert took(clock, 20, first, 10, "evaluation") == 0
        assert overall.seconds_left() == 40 + 100 + 20
    with display.bar("second", 100, beside, overall) as second:
        took(clock, 40, second, 1, "compilation")
        took(clock, 10, second, 10)  # it diverges
    assert overall.seconds_left() == 0


def test_without_a_terminal_the_lines_go_on_while_it_scores(clock, capsys):
    bar = Bar(Display(), "run", 10, {"evaluation": 10})
    took(clock, 10, bar, 10)
    for part in range(1, 6):
        bar.note(f"scoring test: {part * 200:,} of 1,000")
        took(clock, 8, bar, 2, "evaluation")
    assert capsys.readouterr().err.splitlines() == [
        "run: 10 of 10, about 32 s left, scoring test: 200 of 1,000",
        "run: 10 of 10, about 16 s left, scoring test: 600 of 1,000",
        "run: 10 of 10, about 0 s left, scoring test: 1,000 of 1,000",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (99.4, "99 s"), (100, "1.7 min"), (5900, "98 min"), (6000, "1.7 h"), (360_000, "100 h")],
)
def test_times_in_words(seconds, words):
    assert progress.duration(seconds) == words
