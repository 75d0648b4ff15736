"""A run that is stopped while it evaluates goes on with the evaluation, and its bar counts all of its work."""

import threading

import pytest
from conftest import SMALL, resolved
from msgspec import structs

from lra.execution import execute
from lra.interrupt import Interrupted
from lra.progress import MAIN, silent_bar
from lra.recipe import merged
from lra.tasks.prepared import load
from lra.trainer import work_beside_steps


class At(threading.Event):
    """Is set while a bar is at a step and has a text."""

    def __init__(self, bar, step: int, text: str):
        super().__init__()
        self.bar, self.moment = bar, (step, text)

    def is_set(self) -> bool:
        return self.moment == (self.bar.works[MAIN].done, self.bar.text)


def test_stopped_in_each_evaluation_it_comes_to_the_same_record(home, tmp_path):
    plan = resolved(
        "listops", "linear", "demo", (0,), merged(SMALL, ["train.select = 'best'", "train.eval_batch_size = 8"])
    )
    data = load(plan.task, plan.source)
    expected = execute(plan, data, tmp_path / "undisturbed")
    moments = [(8, "validating: 8 of 53"), (20, "validating: 8 of 53"), (20, "scoring test: 8 of 101")]
    stopped = []
    for step, text in (*moments, (0, "never")):
        bar = silent_bar("run", plan.train.steps, work_beside_steps(plan, data))
        try:
            record = execute(plan, data, tmp_path, bar=bar, stop=At(bar, step, text))
        except Interrupted:
            stopped.append((step, text))
            assert [*tmp_path.glob(f"runs/*/checkpoint/{step}")]
    assert stopped == moments
    assert structs.replace(record, measured=None) == structs.replace(expected, measured=None)
    assert [work.done for work in bar.works.values()] == pytest.approx([work.total for work in bar.works.values()])
    # the validation at 8, 16 and 20, then the scoring; an example takes a third of one that is trained on
    assert bar.works["evaluation"].total == pytest.approx((4 * 53 + 101) / 3 / 8)
