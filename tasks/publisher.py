"""The files of a task's publisher: from a folder, from an archive, or through TFDS."""

import contextlib
import gzip
import re
import shutil
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from lra.errors import UserError
from lra.files import is_hidden, writing

NESTS = ("lra_release/lra_release", "lra_release", "")  # LRA's archive nests two folders; S4 reads the inner


def find(folder: Path, name: str, published: str) -> Path:
    """The place of `name`, a path inside the publisher's archive, in a folder that may be any part of that archive.

    Args:
      published: where the files are, for the error.

    Raises:
      UserError: the path is not in the folder.
    """
    parts = PurePosixPath(name).parts
    for first in range(len(parts)):
        for nest in NESTS:
            if (path := folder.joinpath(nest, *parts[first:])).exists():
                return path
    raise UserError(f"{folder} has no {name} (nor a part of that path); fetch it from {published}")


def inside(files: str, *folders: str) -> str:
    """A regular expression for the paths of files in nested folders, of which an archive may lack the outer ones.

    It finds what `find` finds in a folder that is any part of the archive.

    Args:
      files: a regular expression for the files' paths in the innermost folder.
      folders: a regular expression for each folder, the outermost first.

    >>> [name for name in ("x/a/b/c", "a/b/c", "b/c", "c", "x/b/c", "x/c") if re.search(inside("c", "a", "b"), name)]
    ['x/a/b/c', 'a/b/c', 'b/c', 'c']
    """
    place = "(^|/)"
    for folder in folders:
        place = f"(^|{place}{folder}/)"
    return f"{place}({files})$"


@contextlib.contextmanager
def opened(path: Path, pattern: str, scratch: Path) -> Iterator[Path]:
    """The folder `path`. If it is a tar archive, gzipped or not, a folder with those of its members that match.

    Args:
      pattern: a regular expression; other members are not unpacked, nor those that a file manager left.
      scratch: the folder to unpack to; it is deleted afterwards.

    Raises:
      UserError: `path` is neither, or the archive is damaged, or it has no member that matches, or one that points
        outside.
    """
    if path.is_dir():
        yield path
        return
    if not path.is_file():
        raise UserError(f"--from {path}: there is no such file or folder")
    with writing(scratch):
        scratch.mkdir(parents=True)
    try:
        unpack(path, re.compile(pattern), scratch)
        yield scratch
    except UserError as error:  # it names a file that is about to vanish
        raise UserError(str(error).replace(str(scratch), str(path))) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def unpack(path: Path, pattern: re.Pattern[str], folder: Path) -> None:
    count, name = 0, "its beginning"
    try:
        with open(path, "rb") as start:
            packed = start.read(2) == b"\x1f\x8b"
        with (
            gzip.open(path) if packed else open(path, "rb") as stream,
            tarfile.open(fileobj=stream, mode="r|") as archive,
        ):
            for member in archive:
                place = PurePosixPath(member.name)  # without the "./" of `tar -C FOLDER .`
                if not pattern.search(str(place)) or any(map(is_hidden, place.parts)):
                    name = member.name
                    continue
                if place.is_absolute() or ".." in place.parts:
                    raise UserError(f"{path}: the member {member.name[:80]!r} points outside; this is not the original")
                if not member.isfile():
                    if member.isdir():
                        continue
                    raise UserError(f"{path}: the member {member.name[:80]!r} is a link or device and not a file")
                source = archive.extractfile(member)
                assert source is not None
                target = folder / place
                with writing(target):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    file = open(target, "wb")
                with file:
                    while part := source.read(1 << 20):  # LRA's largest member has gigabytes
                        with writing(target):
                            file.write(part)
                    if file.tell() != member.size:
                        raise tarfile.ReadError("unexpected end of data")
                count, name = count + 1, member.name
            while stream.read(1 << 20):  # up to gzip's checksum
                pass
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, OverflowError) as error:
        reason = str(error)[:80] or type(error).__name__
        raise UserError(
            f"{path} is not a whole tar archive ({reason}, after {name[:80]}); fetch it again, or unpack it "
            "yourself and give the folder"
        ) from error
    if not count:
        raise UserError(f"{path} has no member that this task reads ({pattern.pattern}); is it the right archive?")


def import_tensorflow(what: str) -> Any:
    """TensorFlow. `what` needs it, as the error says.

    Raises:
      UserError: it is not installed.
    """
    try:
        import tensorflow
    except ImportError as error:
        raise UserError(f"reading {what} needs TensorFlow: pip install tensorflow") from error
    return tensorflow


def check_reachable(url: str) -> None:
    """Asks for the head of a file, through the user's proxies. Any answer will do.

    Raises:
      OSError: nobody answers.
    """
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=10).close()


def from_tfds(name: str, split: str, task: str, published: str) -> Iterator[dict[str, Any]]:
    """The examples of a split of a TFDS data set, as NumPy values, in TFDS's own order.

    Raises:
      UserError: TFDS is not installed or cannot reach its source. The message says what to fetch instead.
    """
    instead = f"fetch {published} and run the same command with --from FILE"
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(
            f"{task} comes from TFDS, which is not installed: {instead} (or pip install tensorflow tensorflow-datasets)"
        ) from error
    try:
        builder = tfds.builder(name)
        if not builder.data_path.exists():
            check_reachable(published)  # TFDS itself would try for minutes
        data = tfds.load(name, split=split)
    except Exception as error:  # TFDS raises what the network, the disk and its own parts raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:160]
        raise UserError(f"TFDS could not get {name} ({reason}); {instead}") from error
    yield from tfds.as_numpy(data)
