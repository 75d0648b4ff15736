"""A path in a storage of objects, such as s3://bucket/folder/name.

It offers what `pathlib.Path` does. An object is written whole or not at all, and no folders have to be
made. fsspec moves the bytes, with s3fs for s3:// and gcsfs for gs://.
"""

import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec  # type: ignore[import-untyped]
from etils.epath import backend, gpath  # type: ignore[import-untyped]

from lra.errors import UserError

PACKAGES = {"s3": "s3fs", "gs": "gcsfs"}  # what reaches an address, by its scheme
EXPECTED = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
for name in ("s3", "gs", "gcs"):  # another machine may have added an object since the last look
    fsspec.config.conf.setdefault(name, {}).setdefault("use_listings_cache", False)


def failure(path: object, error: BaseException) -> UserError:
    """What a storage ended with, in a line."""
    scheme, bucket = str(path).split("/")[0].removesuffix(":"), str(path).split("/")[2]
    if isinstance(error, ImportError):
        package = PACKAGES[scheme]
        return UserError(f"{path} needs the package {package}, which is not installed; run: pip install '{package}'")
    if isinstance(error, FileNotFoundError):
        return UserError(f"cannot write {path}: there is no bucket '{bucket}'; make it, or name another one")
    said = f"{error}".splitlines() or [""]
    reason = f"{type(error).__name__}: {said[0][:200]}" if said[0] else type(error).__name__
    return UserError(
        f"the storage of {path} failed ({reason}); nothing half-written was left, see to its address, credentials and "
        "rights and run the same command again"
    )


class Backend:
    """What etils does with files, by fsspec alone, even where TensorFlow is installed. Failures are UserErrors."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(backend.fsspec_backend, name)

        def guarded(path: Any, *arguments: Any, **options: Any) -> Any:
            return guard(path, lambda: method(path, *arguments, **options))

        return guarded


def guard(path: object, work: Callable[[], Any]) -> Any:
    """What `work` returns.

    Raises:
      OSError: a file is not there, or there although it must not be.
      UserError: the storage failed.
    """
    try:
        return work()
    except (UserError, *EXPECTED):
        raise
    except Exception as error:  # each storage has its own: of its HTTP client, of its credentials
        raise failure(path, error) from error


class Remote(gpath.PosixGPath):
    """A path in a storage of objects."""

    @property
    def _backend(self) -> Any:
        return Backend()

    @property
    def files(self) -> Any:
        """The file system of fsspec that has the object."""
        return guard(self, lambda: backend.fsspec_backend.fs(str(self)))

    def create(self, data: bytes) -> bool:
        """Makes the object if there is none. Returns False if there is one."""
        try:
            self.put(data, "create")
        except FileExistsError:
            # the client tries again where an answer was lost; then the object that is there is its own
            return self.read_bytes() == data
        return True

    def put(self, data: bytes, mode: str = "overwrite") -> None:
        """Writes the object, whole or not at all.

        Raises:
          FileExistsError: with the mode "create", there is one.
          UserError: the storage failed.
        """
        try:
            guard(self, lambda: self.files.pipe_file(str(self), data, mode=mode))
        except FileNotFoundError as error:
            raise failure(self, error) from error

    def check_writable(self) -> None:
        """Finds out whether objects can be written beside this one. Leaves nothing; errors as of `put`."""
        probe = str(self.parent / f".{self.name}.{uuid.uuid4().hex}")
        try:
            guard(self, lambda: self.files.pipe_file(probe, b""))
            guard(self, lambda: self.files.rm_file(probe))
        except FileNotFoundError as error:
            raise failure(self, error) from error

    def upload(self, file: Path) -> None:
        """Writes the object from a local file, whole or not at all; errors as of `put`."""
        try:
            guard(self, lambda: self.files.put_file(str(file), str(self)))
        except FileNotFoundError as error:
            raise failure(self, error) from error

    def download(self, file: Path) -> None:
        """Writes a local file with what the object has.

        Raises:
          FileNotFoundError: there is none.
          UserError: the storage failed.
        """
        guard(self, lambda: self.files.get_file(str(self), str(file)))

    def head(self, count: int) -> bytes:
        """The first bytes of the object; errors as of `download`."""
        return bytes(guard(self, lambda: self.files.cat_file(str(self), start=0, end=count)))

    def read_bytes(self) -> bytes:
        return bytes(guard(self, lambda: self.files.cat_file(str(self))))

    def stat(self) -> Any:  # with the names of os.stat_result
        found = guard(self, lambda: self.files.info(str(self)))
        when = guard(self, lambda: self.files.modified(str(self))) if found["type"] == "file" else None
        return SimpleNamespace(st_size=found["size"], st_mtime=when.timestamp() if when else 0.0)

    def mkdir(self, mode: int | None = None, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: what has an object in it is a folder."""

    def resolve(self, strict: bool = False) -> "Remote":
        return self

    def rename(self, target: Any) -> "Remote":
        """Copies the object under another name, then deletes it."""
        guard(self, lambda: self.files.copy(str(self), str(target)))
        self.unlink()
        return Remote(target)
