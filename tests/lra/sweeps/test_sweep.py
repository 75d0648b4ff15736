"""The loop of a sweep with an executor that is played, and whole sweeps with processes that are killed."""

import dataclasses
import io
import json
import random
import re
import signal
import subprocess
import threading
import time

import pytest
from conftest import SMALL, SMALL_DATA, bindings, lra
from rich.console import Console

from lra import claims
from lra.claims import Said
from lra.cli import main
from lra.errors import UsageError
from lra.leaderboard.store import load
from lra.plan import resolve
from lra.spec import RunSpec
from lra.sweeps.cell import cells_of, check_models
from lra.sweeps.executor import Ended, Lost, Running
from lra.sweeps.process import TAKEN
from lra.sweeps.specs import Grid, named, read
from lra.sweeps.sweep import DONE, ELSEWHERE, FAILED, WAITING, Sweep
from lra.sweeps.table import picture_of
from sweeps import storm
from sweeps.crowd import crowd


@pytest.fixture(autouse=True)
def _home(home, monkeypatch):
    monkeypatch.setenv("LRA_HOME", str(home))


def cells(count=1, variant="local"):
    return cells_of([RunSpec("listops", variant, "demo", (seed,), tuple(SMALL)) for seed in range(count)])


class Played:
    """An executor whose jobs end as they are told: by run, one end after the other; "record" writes a record."""

    slots = 2

    def __init__(self, results, ends):
        self.results, self.ends, self.jobs, self.submitted, self.cancelled = results, ends, {}, [], []
        self.running = 0

    def submit(self, jobs):
        self.running += len(jobs)
        assert self.running <= self.slots
        names = [f"{len(self.submitted) + place}" for place in range(len(jobs))]
        self.submitted += [job.run for job in jobs]
        self.jobs |= dict(zip(names, jobs))
        return names

    def ask(self, names):
        states = {name: self.end(self.jobs[name]) for name in names}
        self.running -= sum(isinstance(state, Ended | Lost) for state in states.values())
        return states

    def end(self, job):
        end = self.ends[job.run].pop(0) if self.ends[job.run] else Running()
        if end == "record":  # the process ends later
            record(self.results, job.run)
            self.ends[job.run].append(Ended(0))
            return Running()
        return end

    def cancel(self, names):
        self.cancelled += names
        for name in names:
            self.ends[self.jobs[name].run] = [Ended(130)]

    def close(self):
        pass


def record(results, run, status="ok"):
    (results / "records").mkdir(exist_ok=True)
    seen = {"status": status, "error": None, "seeds": [{"test": {"accuracy": 0.5}}]}
    (results / "records" / f"listops.demo.local.{run}.json").write_text(json.dumps(seen))


def played(results, ends, monkeypatch):
    """A sweep of as many cells as there are ends, after its end; and its executor."""
    monkeypatch.setattr("lra.sweeps.sweep.LOOK", 0.0)
    sweep = Sweep(cells(len(ends)), results, say=lambda text: None)
    session = Played(results, {entry.cell.run: list(end) for entry, end in zip(sweep.entries, ends)})
    sweep.run(session, threading.Event())
    return sweep, session


def test_each_cell_without_a_record_is_run_until_it_has_one(tmp_path, monkeypatch):
    monkeypatch.setattr("lra.sweeps.sweep.LOOK", 0.0)
    ends = [["record"], [Running(), "record"], [Lost("the node is gone"), "record"], [Ended(-9), Ended(-9), "record"]]
    sweep, session = played(tmp_path, ends, monkeypatch)
    assert [entry.state for entry in sweep.entries] == [DONE] * 4
    runs = [entry.cell.run for entry in sweep.entries]
    assert [session.submitted.count(run) for run in runs] == [1, 1, 2, 3]
    again, idle = played(tmp_path, [[]] * 4, monkeypatch)
    assert idle.submitted == []
    assert again.counts == {DONE: 4}


def test_a_cell_that_fails_is_named_with_its_last_line_and_its_command(tmp_path, monkeypatch):
    (run,) = (cell.run for cell in cells())
    (tmp_path / "runs" / run).mkdir(parents=True)
    (tmp_path / "runs" / run / "log.txt").write_text("one\nlra: local on listops: out of memory\n\n")
    sweep, session = played(tmp_path, [[Ended(1)], ["record"]], monkeypatch)
    assert [entry.state for entry in sweep.entries] == [FAILED, DONE]
    first, command, log = sweep.failures().splitlines()
    assert first.endswith("local on listops: out of memory")
    assert command.strip().startswith("lra run --task listops --variant local --protocol demo --seeds 0 --results")
    assert log.strip() == f"log: {tmp_path / 'runs' / run / 'log.txt'}"
    assert session.submitted.count(run) == 1


def test_a_cell_that_is_killed_again_and_again_fails_unless_its_checkpoints_grow(tmp_path, monkeypatch):
    sweep, session = played(tmp_path, [[Ended(-9)] * 9], monkeypatch)
    assert (sweep.entries[0].state, len(session.submitted)) == (FAILED, 3)
    assert sweep.entries[0].reason.startswith("killed by SIGKILL, 3 times without a new checkpoint")
    (run,) = (cell.run for cell in cells())
    step = iter(range(1, 20))
    monkeypatch.setattr("lra.sweeps.sweep.checkpoints", lambda results: [(results / run, next(step))])
    sweep, session = played(tmp_path, [[Ended(-9)] * 9 + ["record"]], monkeypatch)
    assert (sweep.entries[0].state, len(session.submitted)) == (DONE, 10)


def test_what_another_sweep_trains_is_left_to_it(tmp_path, monkeypatch):
    monkeypatch.setattr("lra.sweeps.sweep.LOOK", 0.0)
    one, two, three = cells(3)
    held = claims.take(tmp_path, one.run)
    dead = Said("x", 1, "node7", "node7 boot pid", 1, "5", state=claims.STOPPED)
    (tmp_path / "claims" / f"{two.run}.1.json").write_text(json.dumps(dataclasses.asdict(dead)))
    sweep = Sweep([one, two, three], tmp_path)
    assert [entry.state for entry in sweep.entries] == [ELSEWHERE, WAITING, WAITING]
    session = Played(tmp_path, {one.run: [], two.run: ["record"], three.run: [Ended(TAKEN), "record"]})

    def elsewhere_ends(sweep):
        if sweep.counts[DONE] == 2 and not (tmp_path / "records" / f"listops.demo.local.{one.run}.json").exists():
            record(tmp_path, one.run, "diverged")
            held.drop()

    sweep.run(session, threading.Event(), elsewhere_ends)
    assert [entry.state for entry in sweep.entries] == ["diverged", DONE, DONE]
    assert one.run not in session.submitted


def test_one_sees_where_cells_are_and_what_they_reached(tmp_path):
    record(tmp_path, cells(4)[1].run)
    record(tmp_path, cells(4)[3].run, "diverged")
    sweep = Sweep(cells(4), tmp_path)
    said = Said("x", 1, "node7", "node7 boot pid", 41, "5", step=1200, steps=2000, left=90.0, note="loss 2.100")
    sweep.entries[0].state, sweep.entries[0].said = ELSEWHERE, said
    console = Console(width=200, file=io.StringIO())
    console.print(picture_of(sweep))
    text = console.file.getvalue()
    assert re.search(r"local +1 running elsewhere, 1 done, 1 waiting, 1 diverged, mean 50\.0 %", text)
    assert "4 cells: 1 done, 1 diverged, 1 running elsewhere, 1 waiting" in text
    assert "demo seeds 0: step 1,200 of 2,000, 90 s left, loss 2.100 (process 41 on node7)" in text


def test_what_fails_elsewhere_is_not_tried_again_here(tmp_path, monkeypatch):
    monkeypatch.setattr("lra.sweeps.sweep.LOOK", 0.0)
    (cell,) = cells()
    held = claims.take(tmp_path, cell.run)
    sweep = Sweep([cell], tmp_path)
    held.end(claims.FAILED, "the disk is full")
    sweep.run(Played(tmp_path, {}), threading.Event())
    assert (sweep.entries[0].state, sweep.entries[0].reason) == (FAILED, "the disk is full")


def test_a_request_stops_what_runs_at_a_checkpoint_and_begins_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("lra.sweeps.sweep.LOOK", 0.0)
    stop, three = threading.Event(), cells(3)
    sweep, session = Sweep(three, tmp_path), Played(tmp_path, {cell.run: [Running()] * 3 for cell in three})
    sweep.run(session, stop, lambda sweep: len(session.submitted) == 2 and stop.set())
    assert session.cancelled == ["0", "1"]
    assert sweep.counts[DONE] == 0
    assert len(session.submitted) == 2
    late = Sweep(three, tmp_path)
    late.run(session, threading.Event(), until=time.monotonic())
    assert len(session.submitted) == 2


def test_all_mistakes_are_named_before_anything_runs():
    specs = [RunSpec("listops", name, "demo", (0,), tuple(SMALL_DATA)) for name in ("locall", "local", "lineer")]
    with pytest.raises(UsageError, match=r"^2 mistakes, nothing was run: .*'locall'.*'local'.*'lineer'.*'linear'"):
        cells_of([*specs, RunSpec("listops", "locall", "demo", (1,), tuple(SMALL_DATA))])
    refused = [RunSpec("listops", "local", "demo", (0,), (*SMALL_DATA, "encoder.heads = 3"))]
    with pytest.raises(UsageError, match="heads"):
        check_models(cells_of(refused))


def test_a_cell_that_is_listed_twice_is_one_cell():
    assert len(cells_of([RunSpec("listops", "local", "demo", (1, 0), tuple(SMALL))] * 2)) == 1


def test_a_protocol_that_lets_a_variant_choose_has_a_cell_for_each_learning_rate():
    grid = Grid(tasks=("hops",), variants=("local",), protocols=("probe",))
    assert {resolve(spec).train.optimizer.learning_rate.base for spec in grid.specs()} == {1e-3, 3e-3}
    one = dataclasses.replace(grid, overrides=("cosine.base = 2e-3",))
    assert [spec.overrides for spec in one.specs()] == [("cosine.base = 2e-3",)]
    assert len(dataclasses.replace(grid, protocols=("demo",), tasks=("listops",)).specs()) == 1


def test_a_grid_has_every_combination_and_its_file_says_the_same(tmp_path):
    grid = Grid(tasks=("listops", "image"), variants=("local", "s5"), protocols=("demo",), seeds=((0, 1), (2,)))
    specs = grid.specs()
    assert len({*specs}) == len(specs) == 8
    file = tmp_path / "mine.gin"
    file.write_text(
        "sweep.tasks = ('listops', 'image')\nsweep.variants = ['local', 's5']\nsweep.protocols = ('demo',)\n"
        "sweep.seeds = ((0, 1), (2,))\n"
    )
    assert read(named(str(file))) == grid
    table1 = read(named("table1"))
    assert len(table1.specs()) == 6 * len({spec.variant for spec in table1.specs()})
    assert {spec.task for spec in Grid(tasks=("all",), variants=("s5",), protocols=("paper",)).specs()} >= {
        *table1.tasks
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sweep.tasks = 3", "line 1: 3 is not"),
        ("sweep.tasks = ('a',)\nsweep.tasks = ('b',)", "line 2: sweep.tasks is bound twice"),
        ("sweep.taks = ('a',)", "line 1: no parameter of sweep is called 'taks'; did you mean 'tasks'"),
        ("train.steps = 3", "line 1: train.steps is not of the section sweep"),
        ("sweep.tasks = (", "line 1"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_its_line(tmp_path, text, says):
    (tmp_path / "mine.gin").write_text(text)
    with pytest.raises(UsageError, match=re.escape(says)):
        read(tmp_path / "mine.gin")


def test_the_command_says_what_is_missing(tmp_path, capsys):
    words = ["sweep", "--tasks", "listops", "--protocols", "demo", "--results", str(tmp_path), *bindings(*SMALL)]
    assert main(["sweep", "--protocols", "demo"]) == 2
    assert "a sweep has tasks and protocols" in capsys.readouterr().err
    assert main(["sweep", "tabel1"]) == 2
    assert "did you mean 'table1'" in capsys.readouterr().err
    assert main([*words, "--jobs", "0"]) == 2
    assert main(["sweep", "status", "--results", str(tmp_path)]) == 1
    assert "no sweep was begun" in capsys.readouterr().err
    (tmp_path / "records").write_text("a file is in the way")
    assert main([*words, "--variants", "local"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("lra: cannot write")


OFTEN = ["train.log_every = 1", "train.eval_every = 2"]
WORDS = [*bindings(*(line for line in SMALL if "_every" not in line), *OFTEN), "--checkpoint-every", "0"]


@pytest.mark.slow
def test_kills_at_random_moments_change_no_bit_of_any_record(tmp_path, home):
    """Workers and the sweep itself are killed; two sweeps share the cells. All is what an undisturbed sweep records."""
    words = ["--tasks", "listops", "--variants", "local,fnet", "--protocols", "demo", *WORDS]
    calm = lra("sweep", *words, "--results", tmp_path / "calm")
    assert calm.returncode == 0, calm.stderr
    kills = storm.round_of(words, tmp_path / "stormy", 6, random.Random(0), 1.0)
    assert kills["workers"] > 1
    assert kills["sweeps"] > 1
    assert storm.problems(tmp_path / "calm", tmp_path / "stormy") == []
    assert claims.look(tmp_path / "stormy") == {}


@pytest.mark.slow
def test_a_variant_of_ones_own_travels_and_what_crashes_takes_nothing_with_it(tmp_path, home):
    file = tmp_path / "mine.py"
    file.write_text(
        "import os\nfrom lra import register_attention\nimport jax.numpy as jnp\n\n"
        '@register_attention("mine")\ndef mine(q, k, v, mask):\n    return v\n\n'
        '@register_attention("crash")\ndef crash(q, k, v, mask):\n'
        "    if os.getsid(0) == os.getpid():  # a worker, not the sweep\n"
        "        os.kill(os.getpid(), 11)\n    return v\n"
    )
    words = ["sweep", "--import", file, "--tasks", "listops", "--variants", "crash,mine", "--protocols", "demo", *WORDS]
    done = lra(*words, "--results", tmp_path / "results", cwd=tmp_path)
    assert done.returncode == 1
    assert "killed by SIGSEGV, 3 times without a new checkpoint" in done.stderr
    assert "1 of 2 cells failed" in done.stderr.splitlines()[-1]
    assert len([*(tmp_path / "results" / "records").iterdir()]) == 1


@pytest.mark.release
def test_sweeps_that_begin_together_train_each_cell_once(tmp_path):
    cells = ["--tasks", "listops", "--variants", "local", "--protocols", "demo", "--seeds", "0", "1", "2"]
    codes, often = crowd([*cells, *WORDS], tmp_path, 3)
    assert codes == [0] * 3
    assert often == {1: 3}
    assert len([*(tmp_path / "records").iterdir()]) == 3


@pytest.mark.slow
def test_ctrl_c_stops_at_a_checkpoint_and_the_same_command_goes_on(tmp_path):
    long = [*WORDS[: WORDS.index("train.steps = 20") - 1], *WORDS[WORDS.index("train.steps = 20") + 1 :]]
    words = ["--tasks", "listops", "--variants", "local", "--protocols", "demo", *long]
    words += ["--gin", "train.steps = 50"]
    sweep = subprocess.Popen(storm.command(words, tmp_path), stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not [*tmp_path.glob("runs/*/checkpoint/[0-9]*")] and time.monotonic() < until:
        time.sleep(0.05)
    sweep.send_signal(signal.SIGINT)
    said = sweep.communicate(timeout=60)[1]
    assert sweep.returncode == 130, said
    assert said.splitlines()[-1] == "lra: stopped with 1 cell left; the same command goes on"
    ((run, (_, stopped)),) = claims.look(tmp_path).items()
    assert (stopped.state, stopped.steps) == (claims.STOPPED, 50)
    assert 0 < stopped.step < 50
    done = lra("sweep", *words, "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    status = json.loads(lra("sweep", "status", "--json", "--results", tmp_path).stdout)
    assert [(cell["run"], cell["state"], cell["seeds"]) for cell in status] == [(run, DONE, [0])]
    (record,) = (record for record in load([tmp_path])[0] if record.run == run)
    assert [line.step for line in record.curve if line.split == "train"] == [*range(1, 51)]
