"""The publishers' files with any bytes in them are read, or refused in one line; nothing else happens."""

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from examples import read
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image as Picture

from lra.errors import UserError
from lra.tasks.image import Image
from lra.tasks.pathfinder import Pathfinder
from lra.tasks.pathfinder.files import decode_png, write_lra_folder
from lra.tasks.publisher import opened
from lra.tasks.retrieval import Retrieval
from lra.tasks.text import Text

Damage = Callable[[bytes], bytes]

fuzz = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
places, few = st.integers(0, 1 << 16), st.binary(min_size=1, max_size=4)
telling = st.sampled_from([b"\0", b"\n", b"\t", b" ", b"/", b"..", b"\xff", b"9" * 30, b"-", b"(", b"'", b"\r"])
step = st.tuples(st.sampled_from(["replace", "insert", "delete", "truncate"]), places, few | telling)


def damaged(raw: bytes, steps: list[tuple[str, int, bytes]]) -> bytes:
    for kind, place, extra in steps:
        place %= len(raw) + 1
        if kind == "truncate":
            raw = raw[:place]
        else:
            behind = place + (0 if kind == "insert" else len(extra))
            raw = raw[:place] + (b"" if kind == "delete" else extra) + raw[behind:]
    return raw


damages = st.lists(step, min_size=1, max_size=3).map(lambda steps: lambda raw: damaged(raw, steps))


def assert_read_or_refused(read_it: Callable[[], object]) -> None:
    message = "read"
    try:
        read_it()
    except UserError as error:
        message = str(error)
    assert len(message.splitlines()) == 1


def with_file(path: Path, damage: Damage, read_it: Callable[[], object]) -> None:
    """Reads the data with this file damaged, and restores the file."""
    raw = path.read_bytes()
    path.write_bytes(damage(raw))
    try:
        assert_read_or_refused(read_it)
    finally:
        path.write_bytes(raw)


# --- Text ------------------------------------------------------------------------------------------------------

TEXT = Text(max_length=9, train=3, validation=1, test=4)


@pytest.fixture(scope="module")
def reviews(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("fuzz") / "aclImdb"
    for place in (root / half / name for half in ("train", "test") for name in ("neg", "pos")):
        place.mkdir(parents=True)
        for number in range(2):
            (place / f"{number}_{1 if place.name == 'neg' else 10}.txt").write_text(f"Tr\u00e8s {place} {number}")
    read(TEXT, root)
    return root


@fuzz
@given(damages)
def test_text(reviews, damage):
    with_file(reviews / "train" / "pos" / "1_10.txt", damage, lambda: read(TEXT, reviews))


@fuzz
@given(damages)
def test_names_of_texts(reviews, damage):
    path = reviews / "train" / "pos" / "1_10.txt"
    name = damage(os.fsencode(path.name))
    assume(name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name)
    renamed = path.with_name(os.fsdecode(name))
    path.rename(renamed)
    try:
        assert_read_or_refused(lambda: read(TEXT, reviews))
    finally:
        renamed.rename(path)


# --- Image -----------------------------------------------------------------------------------------------------


@fuzz
@given(damages)
def test_image(tmp_path, damage):
    record = bytes([3]) + bytes(range(256)) * 12
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (tmp_path / f"{name}.bin").write_bytes(record)
    source = Image(train=4, validation=1, test=1)
    read(source, tmp_path)
    with_file(tmp_path / "data_batch_2.bin", damage, lambda: read(source, tmp_path))
    with_file(tmp_path / "data_batch_2.bin", lambda raw: damage(b"") + raw[1:], lambda: read(source, tmp_path))


# --- Retrieval -------------------------------------------------------------------------------------------------


@fuzz
@given(damages)
def test_retrieval(tmp_path, damage):
    for stem in ("train", "eval", "test"):
        (tmp_path / f"new_aan_pairs.{stem}.tsv").write_bytes("1.0\tA\tB\tna\u00efve\ttext\n0.0\tA\tB\tx\ty\n".encode())
    source = Retrieval(max_length=4, train=2, validation=2, test=2)
    read(source, tmp_path)
    with_file(tmp_path / "new_aan_pairs.eval.tsv", damage, lambda: read(source, tmp_path))


# --- Pathfinder ------------------------------------------------------------------------------------------------

PATHFINDER = Pathfinder(train=2, validation=1, test=1, chunk=4)


@pytest.fixture(scope="module")
def level(tmp_path_factory) -> Path:
    root = write_lra_folder(PATHFINDER, tmp_path_factory.mktemp("fuzz"), 4)
    read(PATHFINDER, root)
    return root


@fuzz
@given(damages)
def test_metadata_as_text(level, damage):
    with_file(level / "metadata" / "0.npy", damage, lambda: read(PATHFINDER, level))


@settings(fuzz, max_examples=120)
@given(damages, st.booleans())
def test_metadata_as_array(level, damage, in_header):
    def damaged_array(text: bytes) -> bytes:
        file = io.BytesIO()
        np.save(file, np.array([line.split() for line in text.decode().splitlines()]))
        raw = file.getvalue()
        return raw[:8] + damage(raw[8:90]) + raw[90:] if in_header else damage(raw)

    with_file(level / "metadata" / "0.npy", damaged_array, lambda: read(PATHFINDER, level))


@settings(fuzz, max_examples=200)
@given(damages, st.booleans())
def test_png(damage, in_header):
    file = io.BytesIO()
    Picture.fromarray(np.arange(1024, dtype=np.uint8).reshape(32, 32)).save(file, "PNG")
    raw = file.getvalue()
    raw = raw[:8] + damage(raw[8:60]) + raw[60:] if in_header else damage(raw)
    assert_read_or_refused(lambda: decode_png(raw, 32, "here.png"))


# --- Archives --------------------------------------------------------------------------------------------------


def archive(mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=tarfile.PAX_FORMAT) as tar:
        for name in ("readme", f"data/{'long' * 40}.bin", "data/b\u00e9.bin", "data/c.bin"):
            info = tarfile.TarInfo(name)
            info.size = 300
            tar.addfile(info, io.BytesIO(bytes(range(150)) * 2))
    return file.getvalue()


def with_checksums(raw: bytes) -> bytes:
    """The archive, with the checksum corrected in each block that looks like a header."""
    blocks = [bytearray(raw[start : start + 512]) for start in range(0, len(raw), 512)]
    for block in blocks:
        if block[257:262] == b"ustar":
            block[148:156] = b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:]))
    return b"".join(blocks)


@settings(fuzz, max_examples=200)
@given(damages, st.sampled_from(["w", "w:gz", "w:bz2", "w:xz", "checksums"]))
def test_archive(tmp_path, damage, mode):
    raw = damage(archive("w" if mode == "checksums" else mode))
    path, scratch = tmp_path / "a.tar", tmp_path / "scratch"
    path.write_bytes(with_checksums(raw) if mode == "checksums" else raw)

    def read_it() -> None:
        with opened(path, r"(^|/)data/[^/]+\.bin$", scratch) as folder:
            assert any(file.is_file() for file in folder.rglob("*"))

    assert_read_or_refused(read_it)
    assert list(tmp_path.iterdir()) == [path]
