"""`lra runs` lists what a results folder has, a run that was stopped too, and puts a record away."""

import json
import os
import platform
import shlex
import subprocess
from pathlib import Path

import pytest
from made_records import make

from lra import claims
from lra.cli import main
from lra.leaderboard import store
from lra.leaderboard.record import write
from lra.runs import runs_in
from lra.spec import FILE, RunSpec

DATE = "measured__finished_at"
OWN = "train.optimizer = @adamw()\ntrain.select = 'best'\ntrain.steps = 240\n"


@pytest.fixture
def results(tmp_path) -> Path:
    folder = tmp_path / "results"
    changed = make("local", {0: 0.5, 1: None}, config=f"{OWN}local.radius = 4\nencoder.dim = 32\n",
                   protocol__overrides=["encoder.dim = 32", "local.radius = 4"],
                   **{DATE: "2026-11-21T10:00:00+00:00"})  # fmt: skip
    failed = make("linear", {}, status="failed", error="ValueError: no", **{DATE: "2026-11-22T10:00:00+00:00"})
    plain = make("fnet", {0: 0.25, 1: 0.75}, **{DATE: "2026-11-20T10:00:00+00:00"})
    for record in (changed, failed, plain):
        write(record, store.folder_of(folder))
    for run, steps in {"aaaaaaaaaaaa": (), "bbbbbbbbbbbb": (90, 100), plain.run: (240,), "cccccccccccc": (7,)}.items():
        for step in steps:
            (folder / "runs" / run / "checkpoint" / str(step)).mkdir(parents=True)
    spec = RunSpec("listops", "local", "demo", (0, 1), ("local.radius = 9", "train.steps = 500"))
    (folder / "runs" / "bbbbbbbbbbbb" / FILE).write_text(spec.to_json())
    (folder / "runs" / "cccccccccccc" / FILE).write_text("{")
    return folder


def test_runs_are_listed_by_date_with_what_tells_them_apart(results):
    runs, left_out = runs_in(results)
    assert left_out == []
    plain, changed, failed, *stopped = runs
    assert (plain.variant, plain.options, plain.changes, plain.seeds) == ("fnet", (), (), (0, 1))
    assert (plain.status, plain.accuracy) == ("ok", 0.5)
    assert (changed.options, changed.changes) == (("radius = 4",), ("encoder.dim = 32",))
    assert changed.status == "ok, 1 of 2 seeds diverged"
    assert (failed.status, failed.accuracy) == ("failed: ValueError: no", None)
    known, other = sorted(stopped, key=lambda run: run.run)
    assert (known.run, known.status, known.record) == ("bbbbbbbbbbbb", "stopped at step 100", None)
    assert (known.task, known.protocol, known.changes) == ("listops", "demo", ("train.steps = 500",))
    assert (known.variant, known.options, known.seeds) == ("local", ("radius = 9",), (0, 1))
    assert (other.run, other.status, other.variant) == ("cccccccccccc", "stopped at step 7", None)


def status_of(results, run: str) -> str | None:
    return {run.run: run.status for run in runs_in(results)[0]}.get(run)


def test_a_run_that_is_trained_at_the_moment_says_where_it_runs(results):
    where = f"process {os.getpid()} on {platform.node()}"
    with claims.held(claims.take(results, "bbbbbbbbbbbb")) as claim:
        assert status_of(results, "bbbbbbbbbbbb") == f"running, {where}"
        claim.write(step=110, steps=240)
        assert status_of(results, "bbbbbbbbbbbb") == f"running, step 110 of 240, {where}"
    assert status_of(results, "bbbbbbbbbbbb") == "stopped at step 100"


def test_a_run_without_a_checkpoint_is_listed_once_it_is_claimed(results):
    assert status_of(results, "eeeeeeeeeeee") is None
    for state, status in ((claims.FAILED, "failed: no room"), (claims.STOPPED, "stopped at step 0")):
        claim = claims.take(results, "eeeeeeeeeeee")
        assert status_of(results, "eeeeeeeeeeee").startswith("running, process ")
        claim.end(state, "no room")
        assert status_of(results, "eeeeeeeeeeee") == status


def test_a_run_whose_process_was_killed_is_stopped(results):
    claim = claims.take(results, "bbbbbbbbbbbb")
    claim.ended.set()
    claim.write(began="another time")  # as of a process with this number that has ended
    assert status_of(results, "bbbbbbbbbbbb") == "stopped at step 100"


def test_the_command_shows_them_and_names_what_is_no_record(results, capsys):
    assert main(["runs", "--results", str(results)]) == 0
    said = capsys.readouterr().out
    (path,) = store.folder_of(results).glob("*.fnet.*")
    for words in (
        f"records/{path.name}",
        f"records are in {results}",
        "local (radius = 4)",
        "demo, encoder.dim = 32",
        "stopped at step 100",
        "50.00",
        "2026-11-21 10:00",
    ):
        assert words in said
    broken = store.folder_of(results) / "listops.demo.local.dddddddddddd.json"
    broken.write_text("{")
    assert main(["runs", "--results", str(results), "--json"]) == 0
    said = capsys.readouterr()
    listed = {run["run"]: run for run in json.loads(said.out)}
    assert listed["bbbbbbbbbbbb"]["record"] is None
    assert Path(listed[make("fnet", {0: 0.25, 1: 0.75}).run]["record"]).is_file()
    assert str(broken) in said.err
    assert main(["runs", "--results", str(results / "nowhere")]) == 0
    assert "nowhere has no runs; 'lra run' makes them" in capsys.readouterr().out


def test_a_record_that_is_put_away_is_in_no_list_until_it_is_moved_back(results, tmp_path, capsys):
    before, _ = runs_in(results)
    (away,) = [run for run in before if run.variant == "fnet"]
    kept = away.record.read_bytes()
    assert main(["runs", "--results", str(results), "--put-away", away.run[:6]]) == 0
    command = capsys.readouterr().out.strip().splitlines()[-1]
    assert runs_in(results)[0] == [run for run in before if run != away]
    assert away.run not in {record.run for record in store.load([results])[0]}
    assert (results / "runs" / away.run / "checkpoint" / "240").is_dir()
    subprocess.run(shlex.split(command), check=True)
    assert away.record.read_bytes() == kept
    assert runs_in(results)[0] == before
    write(make("luna"), tmp_path)
    (elsewhere,) = tmp_path.glob("*.json")
    assert main(["runs", "--results", str(results), "--put-away", str(elsewhere)]) == 2
    assert elsewhere.is_file()


def test_what_is_put_away_replaces_nothing(results, capsys):
    (path,) = store.folder_of(results).glob("*.fnet.*")
    assert main(["runs", "--results", str(results), "--put-away", path.name]) == 0
    (away,) = (results / "put-away").iterdir()
    path.write_text("{")  # what is no record can be put away too, but not over another
    assert main(["runs", "--results", str(results), "--put-away", path.name]) == 1
    assert "is there already" in capsys.readouterr().err
    away.unlink()
    assert main(["runs", "--results", str(results), "--put-away", path.name]) == 0


@pytest.mark.parametrize("name", ["local", ""])
def test_where_several_runs_may_be_meant_the_error_names_them(name, results, capsys):
    second = make("local", {5: 0.5})
    write(second, store.folder_of(results))
    assert main(["leaderboard", "submit", name, "--results", str(results)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{second.run} (local, listops, demo, 1 seed, 2026-11-21)" in said
    assert "(local, listops, demo, encoder.dim = 32, local.radius = 4, 2 seeds, 2026-11-21)" in said
    assert ("fnet" in said) == (name == "")


def test_an_error_lists_no_more_runs_than_can_be_read(tmp_path, capsys):
    for seed in range(11):
        write(make("local", {seed: 0.5}), store.folder_of(tmp_path))
    assert main(["leaderboard", "submit", "local", "--results", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.count("1 seed") == 8
    assert said.rstrip().endswith("and 3 more")


def test_an_unknown_run_names_the_nearest(results, capsys):
    (path,) = store.folder_of(results).glob("*.fnet.*")
    run = store.run_in(path)
    wrong = run[:3] + ("0" if run[3] != "0" else "1") + run[4:8]
    for name in (wrong, run[:5] + run[6] + run[5] + run[7:] if run[5] != run[6] else wrong, "fent"):
        assert main(["leaderboard", "submit", name, "--results", str(results)]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "the nearest: " in said
        assert f"{run} (fnet, listops" in said.split("the nearest: ")[1].split(";")[0]
    assert main(["leaderboard", "submit", "xyz", "--results", str(results)]) == 2
    assert "'lra runs --results" in capsys.readouterr().err
    assert main(["leaderboard", "submit", "bbbbbbbbbbbb", "--results", str(results)]) == 2
    assert "run bbbbbbbbbbbb has no record yet" in capsys.readouterr().err
