"""The benchmark of the harness compares what is the same: model, batches, forward passes."""

import jax
import numpy as np
import pytest
from conftest import SMALL, resolved

from lra.bench import phases, trainer
from lra.bench.report import Report
from lra.bench.trainer import BareLoop, BarePasses, Harness, random_data
from lra.recipe import merged
from lra.train import accuracy_of


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A bare loop and a harness after the same five steps, with dropout."""
    plan = resolved("listops", "transformer", "demo", (0,), merged(SMALL, ["train.select = 'last'", "train.steps = 5"]))
    data = random_data(plan, 50)
    bare, harness = BareLoop(plan, data), Harness(plan, data, tmp_path_factory.mktemp("run"))
    bare(5)
    harness(5)
    return plan, data, bare, harness


def test_the_bare_loop_comes_to_the_parameters_of_the_harness(compared):
    _, _, bare, harness = compared
    ours, theirs = jax.tree.leaves(harness.trainer.state.params), jax.tree.leaves(bare.state[0])
    assert len(ours) > 10
    for own, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(own[0], other, rtol=1e-4, atol=1e-5)


def test_the_bare_passes_are_those_of_an_evaluation(compared):
    plan, data, _, harness = compared
    evaluator, state = harness.trainer.evaluator, harness.trainer.state
    scored = evaluator("test", state.params, state.buffers, lambda: None, lambda count: None)
    passes = BarePasses(plan, data.splits["test"], evaluator, state)
    right = sum(
        int((np.asarray(logits.argmax(-1)) == batch.labels).sum()) for logits, batch in zip(passes(1), passes.batches)
    )
    filled_up = sum(len(batch.labels) for batch in passes.batches) - 50
    last = accuracy_of(scored.prediction[:, -1:], data.splits["test"].labels[-1:])[0]
    assert 0 <= filled_up < evaluator.batch * len(evaluator.sizes)
    if len(evaluator.sizes) == 1:  # all of what is filled up is the last example
        assert right == round(50 * scored.accuracy[0]) + filled_up * last
    assert len(passes(2)) == 2 * len(passes.batches)


@pytest.mark.slow
def test_each_row_has_its_ratio_and_is_measured_once(monkeypatch, tmp_path):
    recipe = ("listops", "demo", [*merged(SMALL, ["train.select = 'last'"])], 50)
    monkeypatch.setattr(trainer, "RECIPES", {"small": recipe})
    monkeypatch.setattr(trainer, "TOGETHER", "small")
    monkeypatch.setattr(trainer, "LEAST", 0.01)
    monkeypatch.setattr(trainer, "ROUNDS", 3)
    report = Report(tmp_path / "bench.json", trainer.KEYS, None, again=False)
    rows = list(trainer.bench(report))
    assert [row["what"] for row in rows] == ["training", "3 seeds", "evaluation"]
    assert all(row["ratio"] > 0 and row["ms"] > 0 for row in rows)
    assert not list(trainer.bench(report))


def test_the_ratio_is_that_of_the_rounds(monkeypatch):
    assert trainer.ratio_of([2, 4, 6, 9, 50], [2, 2, 2, 3, 1]).seconds == 3
    assert trainer.ratio_of([2, 4, 6, 9, 50], [2, 2, 2, 3, 1]).spread == 0.5
    asked = []
    run = lambda name: lambda n: asked.append((name, n))
    assert trainer.in_rounds({"a": run("a"), "b": run("b")}, 4).keys() == {"a", "b"}
    assert asked == [("b", 4), ("a", 4), ("a", 4), ("b", 4)] * 4


@pytest.mark.slow
def test_the_phases_of_a_run_are_timed_in_two_processes(home, monkeypatch, tmp_path):
    monkeypatch.setattr(phases, "with_demo", lambda: ["synthetic_text"])
    monkeypatch.setattr(phases, "VARIANTS", ("linear",))
    report = Report(tmp_path / "bench.json", phases.KEYS, None, again=False)
    (row,) = phases.bench(report)
    assert min(row[name] for name in ("start", "compilation", "again", "step", "validation", "saving", "writing")) > 0
    assert not list(phases.bench(report))
