"""Files and folders are whole or not there, whatever goes wrong while they are written."""

import contextlib
import errno
import fcntl
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lra.errors import UserError
from lra.files import (
    check_writable,
    folder_atomically,
    is_hidden,
    locked,
    sha256,
    sha256_text,
    visible,
    write_atomically,
)

SPAWN = multiprocessing.get_context("spawn")


@contextlib.contextmanager
def full_disk(free: int) -> Iterator[None]:
    """No file can grow beyond `free` bytes. That holds for pytest's own files too, so nothing may be printed inside."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fail_at(monkeypatch, call: int, error: BaseException | Callable, names: tuple[str, ...]) -> list[str]:
    """Makes the `call`-th (from 1) of all calls of some functions of `os` fail; returns the list of calls."""
    calls = []

    def failing(name: str, original: Callable) -> Callable:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            calls.append(name)
            if len(calls) == call:
                if callable(error):
                    error()
                raise error
            return original(*arguments, **options)

        return wrapper

    for name in names:
        monkeypatch.setattr(os, name, failing(name, getattr(os, name)))
    return calls


def in_folder(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- write_atomically ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["π\r\n", b"\x00\xff\n", ""])
def test_written_bytes_are_the_given_ones(tmp_path, data):
    path = tmp_path / "new" / "folder" / "file"
    write_atomically(path, "what was there, and longer")
    write_atomically(path, data)
    assert path.read_bytes() == (data.encode() if isinstance(data, str) else data)
    assert path.stat().st_mode & 0o777 == 0o644  # others may read it
    assert in_folder(path.parent) == {"file"}


FAILURES = [OSError(errno.ENOSPC, "No space left on device"), PermissionError(errno.EACCES, "Permission denied")]


@pytest.mark.parametrize(
    "error", [*FAILURES, KeyboardInterrupt(), MemoryError()], ids=lambda error: type(error).__name__
)
@pytest.mark.parametrize("call", [1, 2])
def test_failed_write_leaves_the_old_content(tmp_path, monkeypatch, error, call):
    path = tmp_path / "file"
    path.write_text("old")
    calls = fail_at(monkeypatch, call, error, ("fsync", "rename", "replace"))
    with pytest.raises(UserError if isinstance(error, OSError) else type(error)) as caught:
        write_atomically(path, "new")
    assert calls[-1] == ("fsync", "replace")[call - 1]
    if isinstance(error, OSError):
        assert str(tmp_path) in str(caught.value)
        assert error.strerror in str(caught.value)
    assert path.read_text() == "old"
    assert in_folder(tmp_path) == {"file"}


def test_full_disk_leaves_the_old_content(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with full_disk(1000), pytest.raises(UserError, match=str(tmp_path)):
        write_atomically(path, bytes(100_000))
    assert path.read_text() == "old"
    assert in_folder(tmp_path) == {"file"}


def test_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match=str(tmp_path / "file")):
        write_atomically(tmp_path / "file" / "inner", "new")
    with pytest.raises(UserError, match=str(tmp_path / "file")), locked(tmp_path / "file" / "inner", "it is written"):
        pass
    with pytest.raises(UserError, match=str(tmp_path / "file")), folder_atomically(tmp_path / "file" / "inner"):
        pass
    with pytest.raises(UserError, match=str(tmp_path / "file")):
        check_writable(tmp_path / "file" / "inner")
    assert (tmp_path / "file").read_text() == "no folder"


# --- folder_atomically -----------------------------------------------------------------------------------------


def make(path: Path, content: str) -> None:
    with folder_atomically(path) as draft:
        assert in_folder(draft) == set()
        (draft / "a").write_text(content)
        (draft / "b").write_text(content)


def content_of(path: Path) -> str:
    a, b = ((path / name).read_text() for name in "ab")
    assert a == b
    return a


def test_folder_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "new" / "folder"
    make(path, "old")
    (path / "c").write_text("more")
    make(path, "new")
    assert content_of(path) == "new"
    assert in_folder(path) == {"a", "b"}
    assert in_folder(path.parent) == {"folder"}


def break_off(path: Path, error: BaseException) -> str | None:
    """Begins to write a folder and fails; returns what the folder held meanwhile."""
    before = []

    def write_half(draft: Path) -> None:
        assert in_folder(draft) == set()
        before.append(content_of(path) if path.exists() else None)
        (draft / "a").write_text("half")
        raise error

    with pytest.raises(type(error)) as caught, folder_atomically(path) as draft:
        write_half(draft)
    assert caught.value is error
    return before[0]


@pytest.mark.parametrize("error", [ValueError("x"), UserError("x"), OSError("x"), KeyboardInterrupt()])
def test_failed_block_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "folder"
    assert break_off(path, error) is None
    assert in_folder(tmp_path) == set()
    make(path, "old")
    assert break_off(path, error) == "old"
    assert content_of(path) == "old"
    assert in_folder(tmp_path) == {"folder"}


@pytest.mark.parametrize("error", [FAILURES[0], KeyboardInterrupt()], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("call", [1, 2])
def test_failed_rename_loses_nothing(tmp_path, monkeypatch, error, call):
    path = tmp_path / "folder"
    make(path, "old")
    calls = fail_at(monkeypatch, call, error, ("rename", "replace"))
    with pytest.raises(UserError if isinstance(error, OSError) else type(error)):
        make(path, "new")
    assert len(calls) >= call
    monkeypatch.undo()
    assert content_of(path) == "old"
    assert in_folder(tmp_path) == {"folder"}


def make_and_die(path: Path, call: int) -> None:
    """Kills this process at the `call`-th change beside the folder; the exit code is 0 if there are fewer changes."""
    kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
    fail_at(pytest.MonkeyPatch(), call, kill, ("mkdir", "rename", "replace", "rmdir", "unlink"))
    make(path, "new")


def test_killed_writer_loses_nothing(tmp_path):
    """Whenever it is killed, the next writer finds the old folder or the new one, whole, and leaves nothing else."""
    exits, contents = [], []
    for call in range(1, 20):
        path = tmp_path / f"{call}" / "folder"
        make(path, "old")
        child = SPAWN.Process(target=make_and_die, args=(path, call))
        child.start()
        child.join()
        exits.append(child.exitcode)
        contents.append(break_off(path, ValueError("x")))
        assert content_of(path) == contents[-1]
        assert in_folder(path.parent) == {"folder"}
        if child.exitcode == 0:
            break
    assert exits == [-signal.SIGKILL] * (len(exits) - 1) + [0]
    assert len(exits) > 3
    assert contents == sorted(contents, reverse=True)  # first "old", from some moment on "new"
    assert {*contents} == {"old", "new"}


def test_full_disk_leaves_the_old_folder(tmp_path):
    path = tmp_path / "folder"
    make(path, "old")
    with full_disk(10), pytest.raises(UserError), folder_atomically(path) as draft:
        write_atomically(draft / "a", "much too long for that")
    assert content_of(path) == "old"
    assert in_folder(tmp_path) == {"folder"}


# --- locked ----------------------------------------------------------------------------------------------------


def test_lock_is_held_by_one_at_a_time(tmp_path):
    path = tmp_path / "new" / "file"
    with locked(path, "the file is being written"):
        with pytest.raises(UserError) as caught, locked(path, "the file is being written"):
            pass
        message = str(caught.value)
        assert "the file is being written" in message
        assert f"process {os.getpid()}" in message
        assert str(path.parent) in message
        with locked(path.with_name("other"), "another file is being written"):
            pass
    with locked(path, "the file is being written"):
        pass
    assert not path.exists()


def test_lock_ends_with_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"^x$"), locked(tmp_path / "file", "it is written"):
        raise ValueError("x")
    with locked(tmp_path / "file", "it is written"):
        pass


def hold(path: Path, held: Any) -> None:
    with locked(path, "the file is being written"):
        held.set()
        signal.pause()


def test_lock_ends_with_the_process(tmp_path):
    path, held = tmp_path / "file", SPAWN.Event()
    child = SPAWN.Process(target=hold, args=(path, held))
    child.start()
    try:
        assert held.wait(60)
        with pytest.raises(UserError, match=f"process {child.pid}"), locked(path, "it"):
            pass
    finally:
        child.kill()
        child.join()
    with locked(path, "it"), pytest.raises(UserError, match=f"process {os.getpid()}"), locked(path, "it"):
        pass


def test_full_disk_is_a_clear_error_for_a_lock_too(tmp_path):
    with full_disk(0), pytest.raises(UserError, match=str(tmp_path)), locked(tmp_path / "file", "it"):
        pass


def refuse(monkeypatch, code: int) -> None:
    def flock(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EIO, errno.EBADF])
def test_a_file_system_without_locks_is_not_told_as_a_held_lock(tmp_path, monkeypatch, code):
    """Nobody holds the lock, so waiting would not help; and nothing is written without one."""
    refuse(monkeypatch, code)
    with pytest.raises(UserError) as caught, locked(tmp_path / "file", "it is written"):
        pytest.fail("it was written")
    message = str(caught.value)
    assert os.strerror(code) in message
    assert str(tmp_path / ".file.lock") in message
    assert "LRA_HOME" in message
    assert "--results" in message
    assert "wait" not in message


@pytest.mark.parametrize("code", [errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES])
def test_a_held_lock_is_told_as_one_whatever_its_file_says(tmp_path, monkeypatch, code):
    refuse(monkeypatch, code)
    (tmp_path / ".file.lock").write_bytes(b"process \xff\xfe\n7")
    held = pytest.raises(UserError, match=r"^it is written by process .* already .*wait for it to end")
    with held as caught, locked(tmp_path / "file", "it is written"):
        pytest.fail("it was written")
    assert "\n" not in str(caught.value)


def test_a_lock_file_of_another_user_can_be_taken_and_is_held(tmp_path, monkeypatch):
    lock = tmp_path / ".file.lock"
    lock.write_bytes(b"process 7")
    original = open

    def foreign(path: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if path == lock and mode != "rb":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return original(path, mode, *arguments, **options)

    monkeypatch.setattr("builtins.open", foreign)
    held = pytest.raises(UserError, match="process 7")
    with locked(tmp_path / "file", "it is written"), held, locked(tmp_path / "file", "it is written"):
        pytest.fail("it was written")
    with locked(tmp_path / "file", "it is written"):
        assert lock.read_bytes() == b"process 7"


# --- what can be written, and what counts ----------------------------------------------------------------------


def test_it_is_found_out_whether_a_file_can_be_written(tmp_path, read_only):
    check_writable(tmp_path / "new" / "file")
    assert in_folder(tmp_path) == set()
    (tmp_path / "new").mkdir()
    read_only(tmp_path / "new")
    for path in (tmp_path / "new" / "file", tmp_path / "new" / "deeper" / "file"):
        with pytest.raises(UserError, match=f"cannot write {tmp_path}/new/.*Read-only file system"):
            check_writable(path)
    with pytest.raises(UserError, match=f"cannot write {tmp_path}/new/.*Read-only"), locked(tmp_path / "new" / "f", ""):
        pass


def test_what_file_managers_leave_is_not_seen(tmp_path):
    left = ["._0.npy", ".DS_Store", "Thumbs.db", "desktop.ini", "Desktop.ini", "__MACOSX", ".hidden"]
    ours = ["0.npy", "a.b", "thumbs", "x._y"]
    assert list(filter(is_hidden, [*left, *ours, ".."])) == left  # ".." leads outside, which is worse than hidden
    for name in (*left, *ours):
        (tmp_path / name).touch()
    assert [path.name for path in visible(tmp_path.iterdir())] == ours


# --- hashes ----------------------------------------------------------------------------------------------------


def test_hashes_are_those_of_the_standard(tmp_path):
    """FIPS 180-2, appendix B."""
    (tmp_path / "abc").write_bytes(b"abc")
    (tmp_path / "million").write_bytes(b"a" * 1_000_000)
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(tmp_path / "abc") == sha256_text("abc") == abc
    assert sha256(tmp_path / "million") == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
    assert sha256_text("π") != sha256_text("?")
