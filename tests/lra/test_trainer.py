"""A run that is stopped while it evaluates goes on with the evaluation, and its bar counts all of its work."""

import threading

import pytest
from conftest import SMALL, resolved
from msgspec import structs

from lra.interrupt import Interrupted
from lra.progress import MAIN, silent_bar
from lra.recipe import merged
from lra.tasks.prepared import load
from lra.trainer import execute, work_beside_steps


class At(threading.Event):
    """Is set once the bar of a run is at a step and has a text."""

    def __init__(self, bar, step: int, text: str):
        super().__init__()
        self.bar, self.moment = bar, (step, text)

    def is_set(self) -> bool:
        return self.moment == (self.bar.works[MAIN].done, self.bar.text)


def of_the_plan(record):
    """The record without its measurements."""
    return structs.replace(record, measured=None)


def test_stopped_in_each_evaluation_it_comes_to_the_same_record(home, tmp_path):
    plan = resolved("listops", "performer", "demo", (0, 1), merged(SMALL, ["train.select = 'best'"]))
    data = load(plan.task, plan.source)
    expected = execute(plan, data, tmp_path / "undisturbed")
    moments = [
        (8, "validating: 32 of 53"),
        (20, "validating: 32 of 53"),
        (20, "scoring validation: 32 of 53"),
        (20, "scoring test: 32 of 101"),
        (None, "never"),
    ]
    for step, text in moments:
        bar = silent_bar("run", plan.train.steps, work_beside_steps(plan, data))
        stop = At(bar, step, text)
        if step:
            with pytest.raises(Interrupted, match=f"stopped at step {step} of 20"):
                execute(plan, data, tmp_path, bar=bar, stop=stop)
            assert (tmp_path / "runs").glob(f"*/checkpoint/{step}")
        else:
            record = execute(plan, data, tmp_path, bar=bar, stop=stop)
            assert [work.done for work in bar.works.values()] == pytest.approx(
                [work.total for work in bar.works.values()]
            )
    assert of_the_plan(record) == of_the_plan(expected)


def test_the_bar_of_an_undisturbed_run_and_of_one_that_diverges_has_no_work_left(home, tmp_path):
    for more in ([], ["cosine.base = 1e30", "adamw.clip = None"]):
        plan = resolved("listops", "linear", "demo", (0,), merged(SMALL, more))
        data = load(plan.task, plan.source)
        bar = silent_bar("run", plan.train.steps, work_beside_steps(plan, data))
        record = execute(plan, data, tmp_path, bar=bar)
        assert record.status == ("diverged" if more else "ok")
        assert [work.done for work in bar.works.values()] == pytest.approx([work.total for work in bar.works.values()])
        # the validation at 8, 16 and 20, then the scoring; an example takes a third of one that is trained on
        assert bar.works["evaluation"].total == pytest.approx((4 * 53 + 101) / 3 / 8)
