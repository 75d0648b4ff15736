"""Machines that are not as one wishes: folders of others, no home, a full disk, a terminal of few characters.

What was computed is shown, what only could not be kept is a warning, and all else is one line before long work begins.
"""

import errno
import fcntl
import io
import json
import os
import pwd
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL, SMALL_DATA, bindings

from lra import checks, execution
from lra.bench import variants
from lra.checks.runner import Result
from lra.ci import measure
from lra.cli import main
from lra.errors import UserError
from lra.leaderboard import store
from lra.metrics import MetricsLog

ROOT = Path(__file__).resolve().parents[2]
SMALL_LISTOPS = ["listops", "--protocol", "demo", *bindings(*SMALL_DATA)]


def raising(code: int) -> Callable[..., Any]:
    """A function of the operating system that fails with a code."""

    def function(path: Any, *_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code), str(path))

    return function


def one_line(capsys) -> str:
    """What a command that failed has said: one line on standard error, nothing else."""
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "defect" not in said.err
    return said.err


def never(*_: Any, **__: Any) -> None:
    pytest.fail("long work has begun")


# --- LRA_HOME --------------------------------------------------------------------------------------------------


def test_what_is_prepared_needs_no_right_to_write_and_no_lock(home, read_only, monkeypatch, capsys):
    read_only(home)
    monkeypatch.setattr(fcntl, "flock", raising(errno.ENOLCK))
    assert main(["prepare", *SMALL_LISTOPS]) == 0
    assert "are already in" in capsys.readouterr().out
    assert main(["show", *SMALL_LISTOPS]) == 0
    capsys.readouterr()
    assert main(["prepare", *SMALL_LISTOPS, "--gin", "listops.seed = 5"]) == 1
    said = one_line(capsys)
    assert f"cannot write {home / 'tasks'}" in said
    assert "Read-only file system" in said
    assert "LRA_HOME" in said


def test_a_home_that_may_not_be_read_is_named(home, monkeypatch, capsys):
    stat = Path.stat

    def refusing(path: Path, **options: Any) -> Any:
        return (raising(errno.EACCES) if path.is_relative_to(home) else stat)(path, **options)

    monkeypatch.setattr(Path, "stat", refusing)
    for command in ("prepare", "show"):
        assert main([command, *SMALL_LISTOPS]) == 1
        said = one_line(capsys)
        assert f"cannot read {home / 'tasks'}" in said
        assert "set LRA_HOME" in said
    monkeypatch.setattr(Path, "is_dir", lambda path: True)
    monkeypatch.setattr(os, "listdir", raising(errno.EACCES))
    assert main(["tasks", "--json"]) == 0
    said = capsys.readouterr()
    assert {task["name"] for task in json.loads(said.out)} >= {"listops", "text"}
    assert f"lra: warning: cannot read {home / 'tasks'}" in said.err


def test_results_of_checks_are_shown_even_if_they_cannot_be_kept(tmp_path, read_only, monkeypatch, capsys):
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(checks, "check_variant", lambda name, *_: [Result("shape", "holds")])
    read_only(tmp_path)
    assert main(["check", "linear"]) == 0
    said = capsys.readouterr()
    assert "linear: 1 hold" in said.out
    assert f"cannot write {tmp_path / 'home'}" in said.err
    assert main(["check", "linear", "local", "--workers", "1", "--json"]) == 0
    said = capsys.readouterr()
    assert [verdict["holds"] for verdict in json.loads(said.out)] == [True, True]
    assert said.err.count("cannot write") == 1


def test_without_a_home_folder_the_variable_is_named(monkeypatch, capsys):
    for name in ("LRA_HOME", "HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def getpwuid(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", getpwuid)
    monkeypatch.setattr(checks, "check_variant", lambda name, *_: [Result("shape", "holds")])
    for words in (["prepare", "listops"], ["show", "listops"]):
        assert main(words) == 1
        assert "set LRA_HOME" in one_line(capsys)
    for words in (["check", "linear"], ["tasks"]):  # these go without
        assert main(words) == 0
        assert "set LRA_HOME" in capsys.readouterr().err


def test_an_error_of_the_machine_is_no_defect(home, monkeypatch, capsys):
    monkeypatch.setattr(os, "listdir", raising(errno.EIO))
    assert main(["tasks"]) == 1
    assert "Input/output error" in one_line(capsys)


# --- Folders for what takes long -------------------------------------------------------------------------------


def test_nothing_is_trained_or_measured_for_a_folder_that_cannot_be_written(
    home, tmp_path, read_only, monkeypatch, capsys
):
    (tmp_path / "records").mkdir()
    read_only(tmp_path / "records")
    monkeypatch.setattr(execution, "Trainer", never)
    monkeypatch.setattr(variants, "bench", never)
    monkeypatch.setattr(measure, "for_comparison", never)
    monkeypatch.setattr(measure, "for_baseline", never)
    run = ["run", "--task", "listops", "--variant", "linear", "--protocol", "demo", *bindings(*SMALL)]
    gate = ["ci", "run", "local", "--file", str(ROOT / ".ci" / "baseline.json")]
    for words in (
        [*run, "--results", str(tmp_path)],
        ["bench", "variants", "--results", str(tmp_path / "records")],
        [*gate, "--markdown", str(tmp_path / "records" / "a.md")],
        [*gate, "--junit", str(tmp_path / "records" / "a.xml")],
        ["ci", "baseline", "local", "--file", str(tmp_path / "records" / "a.json")],
    ):
        assert main(words) == 1
        assert f"cannot write {tmp_path / 'records'}" in one_line(capsys)


def test_records_that_may_not_be_read_are_not_left_out_in_silence(tmp_path, monkeypatch):
    store.folder_of(tmp_path).mkdir()
    monkeypatch.setattr(os, "listdir", raising(errno.EACCES))
    for ask in (
        lambda: store.find(tmp_path, "0" * 12),
        lambda: store.load([tmp_path]),
        lambda: store.locate("0" * 12, [tmp_path]),
    ):
        with pytest.raises(UserError, match=f"cannot read {tmp_path / 'records'}: Permission denied"):
            ask()


def test_a_full_disk_ends_the_log_of_a_run_and_nothing_waits_for_it(tmp_path, monkeypatch):
    """A thread that writes for TensorBoard would end, and the run would wait for it: so there is none."""
    before = threading.active_count()
    log = MetricsLog(tmp_path, (0, 1), 0, 0)
    log.write(1, split="train", loss=[0.5, None], accuracy=[0.5, 0.25])
    log.sync()
    assert log.size() == log.path.stat().st_size > 0
    events = [*tmp_path.glob("tensorboard/seed?/events.*")]
    assert [b"train/loss" in path.read_bytes() for path in sorted(events)] == [True, False]  # seed 1 has no loss
    assert threading.active_count() == before
    monkeypatch.setattr(os, "fsync", raising(errno.ENOSPC))
    with pytest.raises(UserError, match="No space left on device"):
        log.sync()
    with pytest.raises(UserError, match="No space left on device"):
        log.close()


# --- Terminals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_character_that_a_terminal_lacks_is_replaced(encoding, tmp_path, monkeypatch):
    folder = tmp_path / "αβγ"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LRA_HOME", str(folder))
    terminal = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(terminal, encoding))
    assert main(["tasks"]) == 0
    sys.stdout.flush()
    assert b"/???/tasks" in terminal.getvalue()
    assert main(["new", "mine", "--json"]) == 0
    sys.stdout.flush()
    assert json.loads(terminal.getvalue().partition(b"{")[2].join([b"{", b""]))["file"] == str(folder / "mine.py")
