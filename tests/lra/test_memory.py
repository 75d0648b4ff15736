"""Memory: a run that does not fit says so before it trains, and what would fit; one that runs out loses nothing."""

import dataclasses
import re

import jax
import pytest
from conftest import SMALL, bindings, resolved
from msgspec import structs

from lra import forecast, memory
from lra.cli import main
from lra.errors import UserError
from lra.execution import execute
from lra.memory import Need
from lra.recipe import merged
from lra.tasks.prepared import load
from lra.trainer import Trainer

RUN = ["run", "--task", "listops", "--protocol", "demo", "--variant", "linear", "--seeds", "0,1"]


def test_bytes_in_words():
    assert [memory.words(count) for count in (9_940, 31_000_000, 999_000_000, 1_540_000_000, 22_400_000_000)] == [
        "0.0 MB", "31 MB", "999 MB", "1.5 GB", "22 GB"
    ]  # fmt: skip


def test_the_limit_of_a_container_counts_without_cached_files(tmp_path):
    assert memory.left_in_cgroups(tmp_path) == []
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("3000\n")
    (tmp_path / "memory.stat").write_text("anon 2500\ninactive_file 400\n")
    assert memory.left_in_cgroups(tmp_path) == []
    (tmp_path / "memory.max").write_text("10000\n")
    assert memory.left_in_cgroups(tmp_path) == [7400]
    (tmp_path / "memory").mkdir()
    for name, text in {"limit_in_bytes": "9", "usage_in_bytes": "20"}.items():
        (tmp_path / "memory" / f"memory.{name}").write_text(text)
    (tmp_path / "memory" / "memory.stat").write_text("total_inactive_file 4\n")
    assert memory.left_in_cgroups(tmp_path) == [7400, 0]


def test_the_ways_out_are_those_that_were_compiled_and_fit(home):
    plan = resolved("listops", "linear", "demo", (0,), merged(SMALL, ["train.batch_size = 24"]))
    asked = []

    def need_of(plan):
        """Microbatches take less by a tenth than their share promises too little; remat halves."""
        asked.append((plan.train.microbatch, plan.encoder.remat))
        share = 0.5 if plan.encoder.remat else 1.1 * plan.train.microbatch / 24
        return Need(1000, round(9000 * share))

    words = lambda room: forecast.ways_out(plan, Need(1000, 9000), room, need_of)
    # 12 of 24 would take 5.5 GB by its share, and takes 5.95 GB
    assert re.findall(r"'(.*?)'", words(5600)) == ["encoder.remat = True", "train.microbatch = 8"]
    assert asked == [(None, True), (12, False), (8, False)]
    assert re.findall(r"'(.*?)'", words(2100)) == ["train.microbatch = 2"]
    assert "fewer seeds" in words(1001)
    small = dataclasses.replace(plan, train=dataclasses.replace(plan.train, microbatch=1))
    assert "'encoder.remat = True'" in forecast.less_memory(small)
    assert "train.microbatch = 12" in forecast.less_memory(plan)


def test_a_run_that_does_not_fit_names_what_does_and_that_fits(home, tmp_path, monkeypatch, capsys):
    plan = resolved("listops", "linear", "demo", (0, 1), SMALL)
    trainer = Trainer(plan, load(plan.task, plan.source), tmp_path / "folder")
    whole = memory.need(trainer.lower(trainer.functions, 24).compile())
    trainer.checkpoints.close()
    monkeypatch.setattr(memory, "there", lambda device: whole.arguments + whole.temporary * 2 // 3)
    words = [*RUN, *bindings(*SMALL), "--results", str(tmp_path)]
    assert main(words) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "nothing was trained" in line]
    (binding,) = re.findall(r"--gin '(train.microbatch = \d)'", line)
    assert not [*tmp_path.glob("records/*.json")]
    assert main([*words, *bindings(binding)]) == 0
    told = capsys.readouterr().err
    assert re.search(r"linear: \S+ MB to train, \S+ MB to score, of \S+ MB", told)


def test_scoring_takes_no_more_than_training(home, tmp_path):
    bindings = merged(SMALL, ["train.eval_batch_size = 101", "train.microbatch = 2"])
    plan = resolved("listops", "transformer", "demo", (0, 1), bindings)
    trainer = Trainer(plan, load(plan.task, plan.source), tmp_path)
    programs, step_bytes, _ = trainer.compile()
    trainer.checkpoints.close()
    own = trainer.placement.bytes_of((trainer.state.params, trainer.state.buffers))
    scoring = max(memory.need(program).total for program in trainer.evaluator.programs.values()) - own
    assert scoring <= memory.need(programs[24]).temporary < step_bytes
    assert 1 < trainer.evaluator.batch < 101


def test_memory_that_runs_out_in_the_middle_loses_nothing(home, tmp_path, monkeypatch):
    plan = resolved("listops", "linear", "demo", (0, 1), SMALL)
    data = load(plan.task, plan.source)
    undisturbed = execute(plan, data, tmp_path / "undisturbed")
    compile_ = Trainer.compile

    def compiled_for_once(self):
        programs, *rest = compile_(self)
        calls = iter(range(100))

        def run(*arguments):
            if next(calls) == 3:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.")
            return programs[24](*arguments)

        return {24: run}, *rest

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "compile", compiled_for_once)
        with pytest.raises(UserError, match="out of memory") as caught:
            execute(plan, data, tmp_path, checkpoint_every=0)
    (step,) = re.findall(r"the same command goes on from step (\d+)", str(caught.value))
    assert 0 < int(step) <= 12
    assert "\n" not in str(caught.value)
    assert "--gin 'train.microbatch = 4'" in str(caught.value)
    assert not [*tmp_path.glob("records/*")]
    assert structs.replace(execute(plan, data, tmp_path), measured=None) == structs.replace(undisturbed, measured=None)
