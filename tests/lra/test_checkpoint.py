"""A checkpoint is written while the run goes on: it has what was there at the save, and no failure gets lost."""

import errno
import os
import signal
import subprocess
import sys
import threading
from contextlib import closing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import SMALL, resolved

from lra.checkpoint import Checkpoints
from lra.errors import UserError
from lra.execution import execute
from lra.tasks.prepared import load

LIKE = {"a": np.zeros(3, np.float32)}
KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from lra.checkpoint import Checkpoints
folder = Path(sys.argv[1])
checkpoints = Checkpoints(folder)
tree = {"a": np.ones(8_000_000, np.float32)}
checkpoints.save(1, tree, {"step": 1})
checkpoints.wait()
checkpoints.save(2, {"a": 2 * tree["a"]}, {"step": 2})
while not list(folder.glob("2*")):
    pass
os.kill(os.getpid(), signal.SIGKILL)
"""
DAMAGED = """
import sys
from pathlib import Path
import numpy as np
from lra.checkpoint import Checkpoints
from lra.errors import UserError
from lra.execution import execute
folder = Path(sys.argv[1])
tree = {name: np.ones(50_000, np.float32) for name in "abcdefgh"}
checkpoints = Checkpoints(folder)
checkpoints.save(1, tree, {})
checkpoints.wait()
for path in folder.glob("1/state/**/d/*"):
    path.write_bytes(b"nonsense")
try:
    checkpoints.restore(tree)
except UserError as error:
    print(error)
"""


def child(code: str, *words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False)


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_it_has_the_arrays_of_the_moment_though_the_next_step_takes_their_memory(tmp_path):
    step = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    tree, before = {"a": jnp.arange(3.0)}, []
    with closing(Checkpoints(tmp_path)) as checkpoints:
        for number in (1, 2):
            checkpoints.save(number, tree, {"step": number}, lambda: before.append([*map(str, tmp_path.glob("2*"))]))
            tree = jax.block_until_ready(step(tree))
        restored, notes = checkpoints.restore(LIKE)
    assert restored["a"].tolist() == [1, 2, 3]
    assert notes == {"step": 2}
    assert before == [[], []]  # the log is on the disk before a checkpoint says so


def test_a_save_waits_for_no_disk_and_the_end_does(tmp_path, monkeypatch):
    disk, write = threading.Event(), Checkpoints.write

    def slow(self, *arguments):
        assert disk.wait(10)
        write(self, *arguments)

    monkeypatch.setattr(Checkpoints, "write", slow)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, LIKE, {})
    assert not list(tmp_path.iterdir())
    disk.set()
    checkpoints.close()
    with closing(Checkpoints(tmp_path)) as later:
        assert later.restore(LIKE)


def test_a_failure_is_told_at_the_next_save_and_the_checkpoint_before_stays(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, LIKE, {"step": 1})
    checkpoints.wait()

    monkeypatch.setattr(Checkpoints, "write", full)
    checkpoints.save(2, LIKE, {"step": 2})
    with pytest.raises(UserError, match=r"cannot write a checkpoint to .*No space left on device; free space"):
        checkpoints.save(3, LIKE, {"step": 3})
    checkpoints.save(4, LIKE, {"step": 4})
    with pytest.raises(UserError, match="cannot write a checkpoint"):
        checkpoints.close()
    with closing(Checkpoints(tmp_path)) as later:
        assert later.restore(LIKE)[1] == {"step": 1}


def test_a_run_whose_last_checkpoint_could_not_be_written_has_no_record(home, tmp_path, monkeypatch):
    plan = resolved("listops", "linear", "demo", (0,), SMALL)
    monkeypatch.setattr(Checkpoints, "write", full)
    with pytest.raises(UserError, match="cannot write a checkpoint"):
        execute(plan, load(plan.task, plan.source), tmp_path)
    assert not list(tmp_path.glob("records/*"))


def test_killed_in_the_middle_of_a_write_the_checkpoint_before_is_there(tmp_path):
    assert child(KILLED, tmp_path).returncode == -signal.SIGKILL
    with closing(Checkpoints(tmp_path)) as checkpoints:
        restored, notes = checkpoints.restore({"a": np.zeros(8_000_000, np.float32)})
    assert notes["step"] in (1, 2)  # 2 if the disk was faster than the signal
    assert (restored["a"] == notes["step"]).all()


def test_a_damaged_checkpoint_is_one_line_without_the_tracebacks_of_threads(tmp_path):
    done = child(DAMAGED, tmp_path)
    assert done.stdout.startswith("cannot read the checkpoint")
    assert done.stderr == ""
