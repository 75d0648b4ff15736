"""Claims: one process trains a run, a dead one is replaced, and no clock of another machine is asked."""

import dataclasses
import json
import multiprocessing
import os
import signal
import threading
import time

import pytest

from lra import claims
from lra.claims import Observer, Said, Taken, file_of, held, look, look_at, take
from lra.errors import UserError
from lra.interrupt import Interrupted

RUN = "0123456789ab"
SPAWN = multiprocessing.get_context("fork")


def elsewhere(**changes) -> Said:
    """What a claim of another machine says."""
    said = Said(id="other", beat=3, host="node7", machine="node7 boot pid", process=1, began="5")
    return dataclasses.replace(said, **changes)


def write(results, number, said):
    file_of(results, RUN, number).parent.mkdir(parents=True, exist_ok=True)
    file_of(results, RUN, number).write_text(json.dumps(dataclasses.asdict(said)))


def try_to_take(results, go, won):
    go.wait()
    try:
        claim = take(results, RUN)
    except Taken:
        return
    won.put(os.getpid())
    time.sleep(60)
    claim.drop()


def test_of_many_processes_one_takes_a_claim_and_after_its_death_another(tmp_path):
    go, won = SPAWN.Event(), SPAWN.Queue()
    processes = [SPAWN.Process(target=try_to_take, args=(tmp_path, go, won), daemon=True) for _ in range(8)]
    for process in processes:
        process.start()
    go.set()
    winner = won.get(timeout=30)
    for process in processes:
        if process.pid != winner:
            process.join(30)
    assert won.empty()
    with pytest.raises(Taken, match=rf"{RUN} is being trained by process {winner} on "):
        take(tmp_path, RUN)
    os.kill(winner, signal.SIGKILL)
    next(process for process in processes if process.pid == winner).join()
    with held(take(tmp_path, RUN)):
        assert look(tmp_path)[RUN][1].process == os.getpid()
        assert [path.name for path in claims.folder_of(tmp_path).iterdir()] == [f"{RUN}.2.json"]
    assert look(tmp_path) == {}


def test_a_process_that_waits_to_be_buried_is_dead(tmp_path):
    child = SPAWN.Process(target=os._exit, args=(0,))
    child.start()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is a zombie
    assert claims.began(child.pid) is None
    child.join()


def test_another_machine_lives_as_long_as_its_beat_grows(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    observer = Observer(patience=60)
    assert observer.lives(elsewhere(beat=3))
    now[0] = 59
    assert observer.lives(elsewhere(beat=3))
    assert observer.lives(elsewhere(beat=4))
    now[0] = 118
    assert observer.lives(elsewhere(beat=4))
    now[0] = 120
    assert not observer.lives(elsewhere(beat=4))
    assert not observer.lives(elsewhere(id="new", state=claims.STOPPED))


def test_the_dead_of_another_machine_are_replaced_and_the_living_are_not(tmp_path):
    write(tmp_path, 4, elsewhere())
    heard = []
    claim = take(tmp_path, RUN, heard.append, patience=0.2)
    assert claim.number == 5
    assert heard == [f"run {RUN} is claimed by process 1 on node7; waiting to see whether that lives"]
    claim.drop()
    write(tmp_path, 6, elsewhere())
    beats = threading.Timer(0.3, write, (tmp_path, 6, elsewhere(beat=4)))
    beats.start()
    with pytest.raises(Taken, match="process 1 on node7"):
        take(tmp_path, RUN, patience=20)
    beats.join()


def test_one_that_was_taken_over_hears_it_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "BEAT", 0.05)
    claim, lost = take(tmp_path, RUN), threading.Event()
    claim.lost = lost.set
    write(tmp_path, 2, elsewhere())
    assert lost.wait(20)
    with pytest.raises(Taken, match="taken over by process 1 on node7"):
        claim.require()
    claim.end(claims.FAILED, "mine")
    claim.drop()
    assert look_at(tmp_path, RUN) == (2, elsewhere())


def test_it_beats_and_says_what_the_run_has_reached(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "BEAT", 0.05)
    claim = take(tmp_path, RUN)
    claim.report = lambda: {"step": 7, "steps": 9, "left": 1.5, "note": "loss 1.0"}
    until = time.monotonic() + 20
    while look_at(tmp_path, RUN)[1].beat < 3 and time.monotonic() < until:
        time.sleep(0.01)
    said = look_at(tmp_path, RUN)[1]
    assert (said.step, said.steps, said.left, said.note, said.state) == (7, 9, 1.5, "loss 1.0", claims.RUNNING)
    claim.drop()


@pytest.mark.parametrize(
    ("error", "state"),
    [(Interrupted("stopped at step 3"), claims.STOPPED), (UserError("the disk is full"), claims.FAILED)],
)
def test_it_keeps_why_a_run_ended_without_a_record(tmp_path, error, state):
    with pytest.raises(type(error)), held(take(tmp_path, RUN)):
        raise error
    said = look_at(tmp_path, RUN)[1]
    assert (said.state, said.reason) == (state, str(error))
    with held(take(tmp_path, RUN)) as claim:  # the next one need not wait
        assert claim.number == 2


def test_a_damaged_claim_stands_in_nobodys_way(tmp_path):
    write(tmp_path, 1, elsewhere())
    file_of(tmp_path, RUN, 1).write_text("{")
    assert look(tmp_path) == {}
    take(tmp_path, RUN).drop()
