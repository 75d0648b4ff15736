"""A profile of a run has its phases, opens where it should, and changes nothing."""

import gzip
import json

import jax
from conftest import SMALL, bindings, resolved

from lra import tracing
from lra.cli import main
from lra.execution import execute
from lra.progress import silent_bar
from lra.tasks.prepared import load
from lra.trainer import work_beside_steps


def trained(home, folder, trace=None, said=None):
    plan = resolved("listops", "linear", "demo", (0,), SMALL)
    data = load(plan.task, plan.source)
    bar = silent_bar("run", plan.train.steps, work_beside_steps(plan, data))
    if said is not None:
        bar.display.say = said.append
    record = execute(plan, data, folder, bar=bar, trace=trace)
    return record.seeds, record.curve, record.measured


def test_it_has_the_phases_of_the_run_and_changes_no_bit(home, tmp_path):
    said = []
    seeds, curve, _ = trained(home, tmp_path / "plain")
    traced = trained(home, tmp_path / "traced", tmp_path / "profile", said)
    assert traced[:2] == (seeds, curve)
    (path,) = tmp_path.glob("profile/plugins/profile/*/*.trace.json.gz")
    assert path.with_name(path.name.replace("trace.json.gz", "xplane.pb")).is_file()  # for TensorBoard
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    names = {event.get("name", "") for event in events}
    assert {"steps", "evaluation", "saving"} <= names
    assert any(str(tmp_path / "profile") in line for line in said)


def test_steps_that_are_recorded_are_not_timed(home, tmp_path, monkeypatch):
    monkeypatch.setattr(tracing, "SECONDS", 1e9)
    *_, measured = trained(home, tmp_path, tmp_path / "profile")
    assert 0 < measured.steps_per_second * measured.train_seconds <= 2


def test_a_folder_that_cannot_be_written_is_one_line_before_anything_starts(home, tmp_path, read_only, capsys):
    (tmp_path / "locked").mkdir()
    read_only(tmp_path / "locked")
    words = ["run", "--task", "listops", "--variant", "linear", "--protocol", "demo", *bindings(*SMALL)]
    assert main([*words, "--results", str(tmp_path / "results"), "--trace", str(tmp_path / "locked" / "profile")]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"lra: cannot write {tmp_path / 'locked'}")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_a_run_goes_on_without_its_profile(home, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("Only one profile may be run at a time.")

    monkeypatch.setattr(jax.profiler, "start_trace", refuse)
    said = []
    assert trained(home, tmp_path, tmp_path / "profile", said)[0][0].status == "ok"
    assert said.count("no profile: Only one profile may be run at a time.") == 1
