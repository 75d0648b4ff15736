"""Atomic writes, locks and hashes of files, and which files of a folder count."""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from lra.errors import UserError
from lra.storage import is_remote

HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)  # how `flock` says that another process has the lock
LEFT_BEHIND = ("thumbs.db", "desktop.ini", "__macosx")  # by file managers, beside names that begin with a dot


def is_hidden(name: str) -> bool:
    """Whether a file manager left the file or folder of that name, so that no reader looks at it."""
    return (name.startswith(".") and name != "..") or name.lower() in LEFT_BEHIND


def visible(paths: Iterable[Path]) -> list[Path]:
    """The paths in order, without those that a file manager left."""
    return sorted(path for path in paths if not is_hidden(path.name))


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an OSError of a write (a full disk, no permission) into a UserError that names the file."""
    try:
        yield
    except OSError as error:
        named = Path(error.filename or path)
        named = path if named.name.startswith(f".{path.name}.") else named  # a draft, gone by now
        raise UserError(
            f"cannot write {named}: {error.strerror or error}; "
            "nothing half-written was left, free space or choose another folder (LRA_HOME for prepared tasks) and run "
            "the same command again"
        ) from error


def check_writable(path: Path) -> None:
    """Finds out whether the file `path` can be written, before long work whose outcome goes there. Leaves nothing.

    Raises:
      UserError: it cannot.
    """
    if is_remote(path):
        path.check_writable()
        return
    with writing(path):
        folder = next(folder for folder in path.absolute().parents if folder.exists())
        try:
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:  # it names a file that never was
            raise OSError(error.errno, error.strerror, str(path)) from error


def write_atomically(path: Path, data: str | bytes, durable: bool = True) -> None:
    """Writes the whole file, or leaves the old file unchanged.

    Args:
      durable: whether to wait for the disk; not needed for files that are cheap to make again.

    Raises:
      UserError: the file could not be written.
    """
    raw = data.encode(errors="backslashreplace") if isinstance(data, str) else data
    if is_remote(path):
        path.put(raw)
        return
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(raw)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise


def create(path: Path, data: str | bytes) -> bool:
    """Makes a file with its whole content if there is none. Returns False if there is one, which stays as it is.

    Of several processes that try it at once, on one machine or on several with a shared file system, one succeeds.

    Raises:
      UserError: the file could not be written.
    """
    raw = data.encode() if isinstance(data, str) else data
    if is_remote(path):
        return path.create(raw)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.link(name, path)  # it fails if there is one, over NFS too
            return True
        except FileExistsError:
            return False
        finally:
            os.unlink(name)


@contextlib.contextmanager
def folder_atomically(path: Path) -> Iterator[Path]:
    """Yields an empty folder that becomes `path` if the block succeeds and is removed if it raises.

    An old folder at `path` is replaced. The caller must hold the lock on `path` (`locked`), because a draft that a
    killed writer left behind is removed.

    Raises:
      UserError: the folder could not be written.
    """
    draft, old = path.with_name(f".{path.name}.draft"), path.with_name(f".{path.name}.old")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if old.exists() and not path.exists():  # a writer was killed between the two renames below
            old.rename(path)
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
    try:
        yield draft
        with writing(path):
            shutil.rmtree(old, ignore_errors=True)
            if path.exists():
                path.rename(old)
            draft.rename(path)
    finally:
        if old.exists() and not path.exists():  # the second rename failed
            old.rename(path)
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Holds a lock file beside `path`. The operating system releases the lock when the process ends.

    Args:
      path: the file or folder that the block writes.
      what: what the block does, for the error in the other process: "listops is being prepared".

    Raises:
      UserError: another process holds the lock, or the file system has no locks. Nothing is written without one: two
        writers of one folder would mix their files.
    """
    lock = path.with_name(f".{path.name}.lock")
    with writing(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = open_lock(lock)
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in HELD:
                place = next(folder for folder in lock.resolve().parents if folder.is_mount())
                raise UserError(
                    f"the file system at {place} cannot lock {lock} ({error.strerror}), without which two processes "
                    "may mix their files; choose a folder on another one: LRA_HOME for tasks, --results for runs"
                ) from error
            file.seek(0)
            owner = file.read().decode(errors="replace").strip() or "another process"
            raise UserError(
                f"{what} by {owner} already ({lock}); wait for it to end and run the same command again"
            ) from error
        if file.writable():
            with writing(lock):
                file.truncate(0)
                file.write(f"process {os.getpid()}".encode())
        yield


def open_lock(lock: Path) -> BinaryIO:
    """The lock file, made if it is not there. One that another user made may be only readable, which is enough."""
    # unbuffered: closing a buffered file would fail again on a full disk
    try:
        return open(lock, "a+b", buffering=0)
    except PermissionError:
        return open(lock, "rb", buffering=0)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    """The SHA-256 of a text's UTF-8 bytes, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_texts(texts: Mapping[str, str]) -> str:
    """The hash of some texts by path: of the text if there is one, else of the lines `PATH SHA256`."""
    if len(texts) == 1:
        return sha256_text(*texts.values())
    return sha256_text("".join(f"{path} {sha256_text(text)}\n" for path, text in texts.items()))
