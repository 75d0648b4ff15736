"""The publisher's files: where they are in a folder, and what is unpacked of an archive."""

import contextlib
import gzip
import io
import re
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lra.errors import UserError
from lra.tasks.publisher import NESTS, find, from_tfds, opened

PATTERN = r"(^|/)data/[^/]+\.bin$"
FILES = {
    f"data/{i}.bin": np.random.default_rng(i).bytes(size)  # which do not compress
    for i, size in enumerate((700, 0, 512, 3_000))
}
OTHERS = {"readme.txt": b"Read me.", "data/notes.txt": b"No.", "other/9.bin": b"No."}


def tar(members: list[tuple[str | tarfile.TarInfo, bytes]], mode: str = "w", **how: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, **how) as archive:
        for member, raw in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    return file.getvalue()


MEMBERS = [*OTHERS.items(), *((f"top/{name}", raw) for name, raw in FILES.items())]


def unpacked(path: Path, scratch: Path) -> dict[str, bytes]:
    """What a reader finds in the archive; the folder is gone when this returns."""
    with opened(path, PATTERN, scratch) as folder:
        assert folder == scratch
        return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*.*")}


def error_of(path: Path, tmp_path: Path) -> str:
    """The message for an archive that is refused. Nothing else is left in the folder."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError) as caught:
        unpacked(path, tmp_path / "draft" / "unpacked")
    assert [file for file in sorted(tmp_path.rglob("*")) if file not in before] in ([], [tmp_path / "draft"])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- find ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nest", [nest or "." for nest in NESTS])
@pytest.mark.parametrize("place", ["a/b/c.txt", "b/c.txt", "c.txt"])
def test_find_any_part_of_the_path(tmp_path, nest, place):
    path = tmp_path / nest / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    assert find(tmp_path, "a/b/c.txt", "here").samefile(path)


def test_find_prefers_the_longer_path_and_the_inner_nest(tmp_path):
    for path in ("c.txt", "a/c.txt", "lra_release/a/c.txt", "lra_release/lra_release/c.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert find(tmp_path, "a/c.txt", "here") == tmp_path / "lra_release/a/c.txt"


def test_find_nothing(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(UserError, match=f"{tmp_path} has no a/b/c.txt.*fetch it from the moon"):
        find(tmp_path, "a/b/c.txt", "the moon")


# --- opened: what is read --------------------------------------------------------------------------------------


def test_a_folder_is_itself(tmp_path):
    scratch = tmp_path / "scratch"
    with opened(tmp_path, PATTERN, scratch) as folder:
        assert folder == tmp_path
        assert not scratch.exists()


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_an_archive_is_unpacked_for_a_while(tmp_path, mode):
    """The name of the archive does not matter."""
    path, scratch = tmp_path / "archive.gz", tmp_path / "draft" / "unpacked"
    path.write_bytes(tar(MEMBERS, mode))
    assert unpacked(path, scratch) == {f"top/{name}": raw for name, raw in FILES.items()}
    assert not scratch.exists()


def test_the_scratch_folder_is_gone_after_an_error(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(tar(MEMBERS))
    with contextlib.suppress(ZeroDivisionError), opened(path, PATTERN, tmp_path / "scratch") as folder:
        assert any(folder.iterdir())
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == [path]


def test_folders_and_members_that_do_not_matter_may_be_odd(tmp_path):
    link, folder = tarfile.TarInfo("link"), tarfile.TarInfo("data/folder.bin")
    link.type, link.linkname, folder.type = tarfile.SYMTYPE, "/etc/passwd", tarfile.DIRTYPE
    path = tmp_path / "a.tar"
    path.write_bytes(tar([(link, b""), (folder, b""), ("../x.txt", b"x"), ("data/0.bin", b"0")]))
    assert unpacked(path, tmp_path / "scratch") == {"data/0.bin": b"0"}


# --- opened: what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../data/x.bin", "data/../../data/x.bin", "{tmp}/elsewhere/data/x.bin"])
def test_a_member_that_points_outside(tmp_path, name):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(tar([*MEMBERS, (name.format(tmp=tmp_path), b"out")], "w:gz"))
    assert "points outside" in error_of(path, tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_member_that_is_no_file(tmp_path, kind):
    member = tarfile.TarInfo("data/x.bin")
    member.type, member.linkname = kind, "../../secret"
    path = tmp_path / "a.tar"
    path.write_bytes(tar([("data/0.bin", b"0"), (member, b"")]))
    assert "'data/x.bin' is a link or device" in error_of(path, tmp_path)


def test_a_file_where_a_folder_should_be(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(tar([("data/x.bin", b"x"), ("data/x.bin/data/y.bin", b"y")]))
    with pytest.raises(UserError, match="cannot write"):
        unpacked(path, tmp_path / "scratch")
    assert list(tmp_path.iterdir()) == [path]


WHOLE = tar(MEMBERS, "w:gz")


@pytest.mark.parametrize("size", [*range(1, len(WHOLE), 173), len(WHOLE) - 9, len(WHOLE) - 1])
def test_a_download_that_was_cut_off(tmp_path, size):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(WHOLE[:size])
    error_of(path, tmp_path)


def test_a_changed_byte_in_compressed_data(tmp_path):
    """gzip's checksum detects it."""
    path = tmp_path / "a.tar.gz"
    raw = bytearray(gzip.compress(tar(MEMBERS), compresslevel=0))
    raw[raw.index(FILES["data/3.bin"][:100]) + 50] ^= 1
    path.write_bytes(raw)
    error_of(path, tmp_path)


@pytest.mark.parametrize(
    "raw",
    [b"", b"none", bytes(10_240), b"\x1f\x8b", gzip.compress(b"none", mtime=0), b"BZh9", b"\xfd7zXZ\0", b"PK\x03\x04"],
    ids=lambda raw: repr(raw[:10]),
)
def test_no_archive(tmp_path, raw):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(raw)
    error_of(path, tmp_path)


def test_another_archive(tmp_path):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(tar([*OTHERS.items()], "w:gz"))
    assert "right archive" in error_of(path, tmp_path)


def test_names_of_two_lines(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(tar([("read\nme", b"x" * 600), ("data/0.bin", b"0" * 600)])[:2_100])
    assert "read" in error_of(path, tmp_path)


def test_no_such_file(tmp_path):
    assert "no such file" in error_of(tmp_path / "missing.tar.gz", tmp_path)


# --- TFDS ------------------------------------------------------------------------------------------------------


def test_an_error_of_tfds_is_one_line(tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")

    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("no network\nat all")

    monkeypatch.setattr(tfds, "builder", lambda name: SimpleNamespace(data_path=tmp_path))
    monkeypatch.setattr(tfds, "load", fail)
    with pytest.raises(UserError, match=r"ConnectionError: no network\b") as caught:
        next(from_tfds("imdb_reviews", "train", "text", "http://localhost/x.tar.gz"))
    assert "\n" not in str(caught.value)
    assert re.search("http://localhost/x.tar.gz and run the same command with --from FILE", str(caught.value))


def test_tfds_is_not_asked_for_what_cannot_be_reached(tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")

    def refuse(url: str) -> None:
        raise OSError(f"nobody at {url}")

    monkeypatch.setattr("lra.tasks.publisher.check_reachable", refuse)
    monkeypatch.setattr(tfds, "builder", lambda name: SimpleNamespace(data_path=tmp_path / "missing"))
    monkeypatch.setattr(tfds, "load", lambda *_, **__: pytest.fail("it is asked"))
    with pytest.raises(UserError, match="nobody at URL"):
        next(from_tfds("imdb_reviews", "train", "text", "URL"))


def test_without_tfds(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(UserError, match=r"not installed: fetch URL and run the same command with --from FILE"):
        next(from_tfds("imdb_reviews", "train", "text", "URL"))
