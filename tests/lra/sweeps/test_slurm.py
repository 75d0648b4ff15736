"""The executor of SLURM, on a SLURM of this machine alone that `tests/slurm/start.sh` starts."""

import importlib.util
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import SMALL

from lra.errors import UsageError, UserError
from lra.spec import RunSpec
from lra.sweeps import slurm as executor
from lra.sweeps.cell import cells_of
from lra.sweeps.executor import Ended, Lost, Running, Waiting
from lra.sweeps.slurm import Slurm, SlurmSession, reason
from lra.sweeps.sweep import DONE, Sweep
from sweeps import stand_in

SCRIPT = Path(__file__).parents[2] / "slurm" / "start.sh"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
MISSING = [name for name in PROGRAMS if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")]
MISSING += [] if importlib.util.find_spec("submitit") else ["submitit"]
MISSING += [] if os.getuid() == 0 else ["root"]
needs_slurm = pytest.mark.skipif(bool(MISSING), reason=f"without {', '.join(MISSING)} no SLURM can be tried here")


def test_without_slurm_or_submitit_it_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="sbatch is not on the PATH"):
        Slurm().session(None)
    (tmp_path / "sbatch").touch(mode=0o755)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r"pip install 'long-range-arena\[slurm\]'"):
        Slurm().session(None)


@pytest.mark.parametrize("options", [{"minutes": 0}, {"cpus": 0}, {"gpus": -1}])
def test_a_cell_needs_something_that_can_be_given(options):
    (name,) = options
    with pytest.raises(UsageError, match=f"{name}=.* is not at least"):
        Slurm(**options).session(None)


def test_the_reason_of_a_command_is_one_line():
    said = "sbatch: error: invalid partition specified: gpu\nallocation failure: Invalid partition name specified\n\n"
    assert reason(said) == "invalid partition specified: gpu: allocation failure: Invalid partition name specified"
    assert reason("") == "it fails without a reason"


class Submitted:
    """A job as submitit knows it, whose files are in a folder."""

    def __init__(self, folder):
        self.paths = self
        self.result_pickle, self.stderr = folder / "result.pkl", folder / "log.err"


@pytest.mark.parametrize(
    ("word", "code", "cancelled", "state"),
    [
        ("PENDING", None, False, Waiting("Priority")),
        ("PENDING", 130, False, Waiting("Priority")),  # it was preempted, and what it left is of no account
        ("RUNNING", None, False, Running("n1")),
        ("COMPLETING", 0, False, Running("n1")),
        ("COMPLETED", 0, False, Ended(0)),
        ("COMPLETED", 1, False, Ended(1)),
        ("COMPLETED", -9, False, Ended(-9)),
        ("OUT_OF_MEMORY", None, False, Ended(-9)),
        ("CANCELLED", 130, True, Ended(130)),
        ("CANCELLED", None, True, Ended(130)),
        ("CANCELLED", None, False, Ended(130)),  # by the user, with scancel
        ("", 0, False, Ended(0)),  # SLURM forgets a job after some minutes
        ("COMPLETED", None, False, Running("n1")),  # the result is not seen here yet
    ],
)
def test_what_slurm_says_and_what_the_job_left_make_its_state(tmp_path, monkeypatch, word, code, cancelled, state):
    assert state_of(tmp_path, monkeypatch, word, code, cancelled) == state


@pytest.mark.parametrize(
    ("word", "code", "why"),
    [
        ("COMPLETED", 130, "SLURM stopped job 7_0, which was preempted or had no time left"),
        ("PREEMPTED", 130, "SLURM stopped job 7_0, which was preempted or had no time left"),
        ("NODE_FAIL", None, "job 7_0 ended without a result (node_fail): the last words"),
        ("TIMEOUT", None, "job 7_0 ended without a result (timeout): the last words"),
    ],
)
def test_what_vanished_through_no_fault_of_its_own_is_lost(tmp_path, monkeypatch, word, code, why):
    assert state_of(tmp_path, monkeypatch, word, code, False) == Lost(why)


def test_a_job_without_a_result_is_lost_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(executor, "PATIENCE", 0.0)
    lost = Lost("job 7_0 ended without a result (failed): the last words")
    assert state_of(tmp_path, monkeypatch, "FAILED", None, False) == lost


def state_of(folder, monkeypatch, word, code, cancelled):
    monkeypatch.setattr(executor, "answer", lambda command: "MaxArraySize = 100")
    session = SlurmSession(Slurm(), None)
    session.jobs["7_0"] = Submitted(folder)
    session.cancelled |= {"7_0"} if cancelled else set()
    (folder / "log.err").write_text("first\nthe last words\n")
    if code is not None:
        (folder / "result.pkl").write_bytes(executor.pickle.dumps(("success", code)))
    return session.state_of("7_0", word, "n1", "Priority")


@pytest.fixture
def slurm(tmp_path_factory, monkeypatch):
    import cloudpickle

    folder = tmp_path_factory.mktemp("slurm")
    made = subprocess.run([SCRIPT, folder], capture_output=True, encoding="utf-8", check=False, timeout=60)
    if made.returncode:  # a container may forbid what slurmd needs
        pytest.skip(f"no SLURM starts on this machine: {made.stderr.strip()[-500:]}")
    monkeypatch.setenv("SLURM_CONF", made.stdout.partition("=")[2].strip())
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    monkeypatch.setattr(SlurmSession, "start", staticmethod(stand_in.start))
    cloudpickle.register_pickle_by_value(stand_in)
    yield
    cloudpickle.unregister_pickle_by_value(stand_in)
    subprocess.run(["scancel", "--me"], check=False)
    subprocess.run([SCRIPT, folder, "stop"], check=True, timeout=60)


@needs_slurm
@pytest.mark.slow
def test_an_array_with_one_job_preempted_and_one_that_dies(home, slurm, tmp_path):
    for wrong, why in [({"partition": "none"}, "Invalid partition"), ({"gpus": 1}, "generic resource")]:
        with pytest.raises(UserError, match=rf"{why}.*; the partitions are low \(1 x .*GPUs: none"):
            Slurm(**wrong).session(None)
    (tmp_path / "records").mkdir()
    cells = cells_of([RunSpec("listops", "local", "demo", (seed,), tuple(SMALL)) for seed in range(4)])
    sweep = Sweep(cells, tmp_path, kernels="6 dies")
    said = []
    sweep.say = said.append
    session = Slurm(partition="low", minutes=5).session(None)
    preempted, requeued = [], set()

    def preempt(sweep):
        if not preempted and len(notes(tmp_path, "began")) == 3 and (tmp_path / "died").exists():
            preempted.append(True)
            everything = ["--exclusive", "--partition=high", "--wrap=sleep 3", "--output=/dev/null"]
            subprocess.run(["sbatch", *everything], check=True, capture_output=True)
        for name, state in session.states.items():
            if state == Waiting("BeginTime"):  # SLURM waits for two minutes before it starts a preempted job again
                requeued.add(name)
                subprocess.run(["scontrol", "update", f"JobId={name}", "StartTime=now"], check=False)

    sweep.run(session, threading.Event(), preempt)
    arrays = {name.partition("_")[0] for name in session.jobs}
    session.close()
    assert [entry.state for entry in sweep.entries] == [DONE] * 4
    assert sorted(notes(tmp_path, "ended")) == sorted(cell.run for cell in cells)
    # the one that died has a second job; what was preempted goes on in the same one
    assert len(said) == 1
    assert "killed by SIGKILL" in said[0]
    assert len(arrays) == 2
    assert requeued
    assert 4 + 1 + 1 <= len(notes(tmp_path, "began")) <= 4 + 1 + len(requeued)


@needs_slurm
@pytest.mark.slow
def test_cancelled_jobs_stop_and_those_that_wait_are_dropped(home, slurm, tmp_path):
    (tmp_path / "records").mkdir()
    cells = cells_of([RunSpec("listops", "local", "demo", (seed,), tuple(SMALL)) for seed in range(4)])
    session = Slurm(minutes=5).session(None)
    names = session.submit([cell.job(tmp_path, "100", 30.0) for cell in cells])
    wait_until(lambda: len(notes(tmp_path, "began")) == 2)
    session.cancel(names)
    wait_until(lambda: set(session.ask(names).values()) == {Ended(130)})
    session.close()
    assert notes(tmp_path, "ended") == []


def notes(results, word):
    return stand_in.notes(results, word) if (results / "notes").exists() else []


def wait_until(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.2)
