"""The ratios of step times, by a clock that is not the machine's."""

import pytest

from lra.ci import speed


def test_ten_per_cent_slower():
    """The clock is fake; the runs take known times and disturb each other. test_changes.py tests the decision."""
    now, calls = [0.0], [0]

    def run(seconds):
        def of(n):
            calls[0] += 1
            slowing = 1.02 ** calls[0]  # whoever comes second in a pair takes longer
            disturbed = 1 + 0.5 * ((calls[0] - 1) // 120 % 3)  # for some pairs on end, as by another process
            now[0] += n * seconds * slowing * disturbed
            return ()

        return of

    runs = {"same": run(0.010), "slower": run(0.011), "half": run(0.005)}
    ratios = speed.ratios(run(0.010), runs, 100, lambda: now[0])
    assert ratios == pytest.approx({"same": 1.0, "slower": 1.1, "half": 0.5}, rel=0.01)
