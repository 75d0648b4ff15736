"""Prepared tasks: what is written is what was generated, and nothing but that is ever read."""

import collections
import dataclasses
import hashlib
import json
import multiprocessing
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from examples import decode
from hypothesis import given, settings
from hypothesis import strategies as st

from lra.errors import UserError
from lra.tasks import TASKS, Split
from lra.tasks.listops import LISTOPS, ListOps
from lra.tasks.prepared import Prepared, folder_of, home, load, prepare, prepared_folders, read_manifest

SPAWN = multiprocessing.get_context("spawn")
COLUMNS = ("inputs", "lengths", "labels")
FILES = {f"{split}.{column}.npy" for split in ("train", "validation", "test") for column in COLUMNS}
BLOCK = 9


@dataclasses.dataclass(frozen=True)
class Toy:
    """A source of random rows in blocks that do not end where the splits do; `before` is called before each block."""

    before: ClassVar[Callable[[int], None]] = staticmethod(lambda block: None)

    max_length: int = 5
    train: int = 60
    validation: int = 31
    test: int = 22
    seed: int = 0

    @property
    def sizes(self) -> dict[str, int]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def files(self) -> str:
        return r"(^|/)rows$"

    def rows(self) -> dict[str, Split]:
        rng = np.random.default_rng(self.seed)
        splits = {}
        for split, size in self.sizes.items():
            labels = np.minimum(rng.geometric(0.4, size) - 1, 4).astype(np.int32)
            lengths = rng.integers(1, self.max_length + 1, size, np.int32)
            splits[split] = Split(rng.integers(0, 17, (size, self.max_length), np.uint8), lengths, labels)
        return splits

    def generate(self, workers: int = 1) -> Iterator[tuple[str, Split]]:
        blocks = ((name, rows[i : i + BLOCK]) for name, rows in self.rows().items() for i in range(0, len(rows), BLOCK))
        for index, block in enumerate(blocks):
            self.before(index)
            yield block

    def read(self, folder: Path, workers: int, warn: Callable[[str], None]) -> Iterator[tuple[str, Split]]:
        """The same rows, once the folder has a file."""
        if not (folder / "rows").exists():
            raise UserError(f"{folder / 'rows'} is not there")
        return self.generate(workers)


TOY = dataclasses.replace(LISTOPS, name="toy", version="3.2.1", source=Toy)
SOURCE = Toy(seed=1)


@pytest.fixture(autouse=True)
def empty_home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def beside(folder: Path) -> set[str]:
    """What lies beside a prepared task, but for the lock, which stays."""
    there = {path.name for path in folder.parent.iterdir()} if folder.parent.exists() else set()
    return there - {f".{folder.name}.lock", folder.name}


def assert_rows(data: Prepared, expected: dict[str, Split]) -> None:
    assert list(data.splits) == list(expected)
    for split, rows in expected.items():
        for column in COLUMNS:
            found = getattr(data.splits[split], column)
            assert found.dtype == getattr(rows, column).dtype
            np.testing.assert_array_equal(found, getattr(rows, column))


# --- What is written -------------------------------------------------------------------------------------------


def test_round_trip():
    done: list[int] = []
    assert prepare(TOY, SOURCE, advance=done.append)
    assert sum(done) == 113
    data = load(TOY, SOURCE)
    assert_rows(data, SOURCE.rows())
    assert data.max_length == 5
    assert data.folder == folder_of(TOY, SOURCE)
    assert isinstance(data.splits["train"].inputs, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        data.splits["train"].inputs[0, 0] = 1


def test_listops_round_trip():
    source = ListOps(min_length=2, max_length=30, max_depth=3, train=3_000, validation=40, test=30, seed=3)
    prepare(LISTOPS, source, workers=2)
    data = load(LISTOPS, source)
    blocks = list(source.generate())
    for split, rows in data.splits.items():
        expected = np.concatenate([block.inputs for name, block in blocks if name == split])
        np.testing.assert_array_equal(rows.inputs, expected)
    again = dataclasses.replace(source, seed=4)
    prepare(LISTOPS, again)
    assert load(LISTOPS, again).data_sha256 != data.data_sha256


def test_manifest_says_what_is_there():
    prepare(TOY, SOURCE)
    folder, rows = folder_of(TOY, SOURCE), SOURCE.rows()
    manifest = json.loads((folder / "manifest.json").read_text())
    counts = {split: collections.Counter(part.labels.tolist()) for split, part in rows.items()}
    (majority, most), (_, second) = counts["train"].most_common(2)
    assert most > second
    assert manifest["task"] == "toy"
    assert manifest["version"] == "3.2.1"
    assert manifest["parameters"] == {"max_length": 5, "train": 60, "validation": 31, "test": 22, "seed": 1}
    assert manifest["origin"] == "generated"
    assert manifest["examples"] == {"train": 60, "validation": 31, "test": 22}
    assert {s: {k: n for k, n in enumerate(found) if n} for s, found in manifest["labels"].items()} == counts
    assert manifest["floor"] == {
        "validation": pytest.approx(counts["validation"][majority] / 31, rel=1e-12),
        "test": pytest.approx(counts["test"][majority] / 22, rel=1e-12),
    }
    assert (manifest["max_length"], manifest["vocab_size"], manifest["num_classes"]) == (5, 17, 10)
    assert manifest["sha256"] == {
        name: hashlib.sha256(raw).hexdigest() for name, raw in content(folder).items() if name.endswith(".npy")
    }
    assert content(folder).keys() == FILES | {"manifest.json"}
    assert beside(folder) == set()


def test_floor_is_of_the_majority_in_train():
    """And not of each split's own."""

    class Skewed(Toy):
        def generate(self, workers: int = 1) -> Iterator[tuple[str, Split]]:
            for split, labels in {"train": [2, 2, 5], "validation": [5, 5, 5, 2], "test": [0, 5]}.items():
                yield (
                    split,
                    Split(np.ones((len(labels), 5), np.uint8), np.ones(len(labels), np.int32), np.int32(labels)),
                )

    source = Skewed(seed=1)
    prepare(TOY, source)
    assert load(TOY, source).manifest["floor"] == {"validation": 0.25, "test": 0.0}


def test_files_are_the_same_whenever_they_are_written(tmp_path, monkeypatch):
    prepare(TOY, SOURCE)
    first = content(folder_of(TOY, SOURCE))
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "elsewhere"))
    prepare(TOY, SOURCE)
    assert content(folder_of(TOY, SOURCE)) == first
    (tmp_path / "rows").touch()
    prepare(TOY, SOURCE, read_from=tmp_path, force=True)
    manifest = load(TOY, SOURCE).manifest
    assert manifest["origin"] == str(tmp_path)
    assert manifest["data_sha256"] == json.loads(first["manifest.json"])["data_sha256"]  # of the data, not its origin


def test_data_hash_depends_on_every_file(tmp_path, monkeypatch):
    """A change in any of the arrays gives another hash of the data."""
    seen = set()
    for split, column in [(None, None), *((s, c) for s in ("train", "validation", "test") for c in COLUMNS)]:

        class Changed(Toy):
            change = split, column

            def rows(self) -> dict[str, Split]:
                rows = super().rows()
                split, column = self.change
                if split:
                    getattr(rows[split], column)[-1] += 1
                return rows

        prepare(TOY, Changed(seed=1), force=True)
        seen.add(load(TOY, Changed(seed=1)).data_sha256)
    assert len(seen) == 10


def test_a_machine_that_makes_other_examples_is_found_out():
    wrong = dataclasses.replace(TOY, data_sha256="0" * 64)
    with pytest.raises(UserError, match=r"toy 3\.2\.1.*000000000000"):
        prepare(wrong, Toy())
    folder = folder_of(wrong, Toy())
    assert not folder.exists()
    assert beside(folder) == set()
    prepare(wrong, SOURCE)  # whose hash nobody knows
    right = dataclasses.replace(TOY, data_sha256=load(wrong, SOURCE).data_sha256)
    with pytest.raises(UserError, match=r"toy 3\.2\.1"):
        prepare(right, Toy())
    same = dataclasses.replace(right, source=lambda: SOURCE)
    assert folder_of(same, Toy()) != folder_of(same, SOURCE)


# --- Where -----------------------------------------------------------------------------------------------------


def test_home(monkeypatch, tmp_path):
    assert home() == tmp_path / "home"
    monkeypatch.delenv("LRA_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert home() == tmp_path / "cache" / "lra"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home() == tmp_path / ".cache" / "lra"


def test_folders_of_different_parameters_are_different():
    assert folder_of(TOY, Toy()).name == "toy-3.2.1"
    folders = {folder_of(TOY, Toy(**change)) for change in ({}, {"seed": 1}, {"train": 61}, {"test": 61}, {"seed": 2})}
    assert len(folders) == 5
    assert folder_of(TOY, Toy(seed=1)) == folder_of(TOY, SOURCE)
    assert folder_of(TASKS["listops"], ListOps()).name == "listops-1.0.0"


def test_prepared_folders_lists_what_is_prepared():
    assert prepared_folders(TOY) == []
    sources = Toy(seed=1), Toy(seed=2)
    for source in sources:
        prepare(TOY, source)
    (folder_of(TOY, SOURCE).parent / "toy-3.2.1-draft").mkdir()
    assert prepared_folders(TOY) == sorted(folder_of(TOY, source) for source in sources)


# --- Preparing again -------------------------------------------------------------------------------------------


def test_second_prepare_does_nothing(monkeypatch):
    assert prepare(TOY, SOURCE)
    folder = folder_of(TOY, SOURCE)
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    monkeypatch.setattr(Toy, "before", staticmethod(lambda block: pytest.fail("it generates again")))
    assert not prepare(TOY, SOURCE)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times


def test_other_origin_needs_force(tmp_path):
    (tmp_path / "rows").touch()
    prepare(TOY, SOURCE)
    folder = folder_of(TOY, SOURCE)
    before = content(folder)
    with pytest.raises(UserError, match=r"generated.*--force"):
        prepare(TOY, SOURCE, read_from=tmp_path)
    assert content(folder) == before
    assert prepare(TOY, SOURCE, read_from=tmp_path, force=True)
    assert read_manifest(folder)["origin"] == str(tmp_path)
    assert not prepare(TOY, SOURCE, read_from=tmp_path)
    with pytest.raises(UserError, match=f"{tmp_path}.*--force"):
        prepare(TOY, SOURCE)
    assert beside(folder) == set()


@pytest.mark.parametrize(
    "error", [ValueError("x"), UserError("x"), KeyboardInterrupt()], ids=lambda e: type(e).__name__
)
def test_error_in_the_middle(monkeypatch, error):
    def fail_at_block_8(block: int) -> None:
        if block == 8:
            raise error

    folder = folder_of(TOY, SOURCE)
    with monkeypatch.context() as patch:
        patch.setattr(Toy, "before", staticmethod(fail_at_block_8))
        with pytest.raises(type(error)) as caught:
            prepare(TOY, SOURCE)
    assert caught.value is error
    assert not folder.exists()
    assert beside(folder) == set()
    prepare(TOY, SOURCE)
    before = content(folder)
    monkeypatch.setattr(Toy, "before", staticmethod(fail_at_block_8))
    with pytest.raises(type(error)):
        prepare(TOY, SOURCE, force=True)
    assert content(folder) == before
    assert beside(folder) == set()
    assert_rows(load(TOY, SOURCE), SOURCE.rows())


def test_damaged_tsv_leaves_nothing(tmp_path):
    source = ListOps(min_length=2, max_length=30, max_depth=3, train=700, validation=4, test=3)
    lines = []
    for split, block in source.generate():
        lines += [
            f"{decode(row[row > 0])}\t{label}\n" for row, label in zip(block.inputs, block.labels) if split == "train"
        ]
    (tmp_path / "basic_train.tsv").write_text("".join(["Source\tTarget\n", *lines[:-1], "[MAX 4 3 ]\t3\n"]))
    with pytest.raises(UserError, match=r"basic_train\.tsv, line 701"):
        prepare(LISTOPS, source, read_from=tmp_path)
    folder = folder_of(LISTOPS, source)
    assert not folder.exists()
    assert beside(folder) == set()


# --- Damage ----------------------------------------------------------------------------------------------------


def test_not_prepared_names_the_command():
    with pytest.raises(UserError, match=r"toy is not prepared.*lra prepare toy"):
        load(TOY, SOURCE)
    with pytest.raises(UserError, match=r"run: lra prepare toy --protocol demo$"):
        load(TOY, SOURCE, "lra prepare toy --protocol demo")
    prepare(TOY, Toy(seed=2))
    with pytest.raises(UserError, match=r"toy is not prepared with these parameters"):
        load(TOY, SOURCE)


def refused(folder: Path, name: str) -> None:
    """Loading fails with one line that names the file and the way out."""
    with pytest.raises(UserError) as caught:
        load(TOY, SOURCE, "lra prepare toy --protocol demo")
    message = str(caught.value)
    assert str(folder / name) in message
    assert f"delete {folder}" in message
    assert "prepare" in message.split("delete")[1]
    assert "\n" not in message


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.unlink(), id="missing"),
        pytest.param(lambda path: os.truncate(path, path.stat().st_size - 1), id="truncated"),
        pytest.param(lambda path: os.truncate(path, 0), id="emptied"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes() + b"\0"), id="longer"),
    ],
)
def test_damaged_array(name, damage):
    prepare(TOY, SOURCE)
    folder = folder_of(TOY, SOURCE)
    damage(folder / name)
    refused(folder, name)


def edit(change: Callable[[dict], Any]) -> Callable[[bytes], bytes]:
    def damage(raw: bytes) -> bytes:
        manifest = json.loads(raw)
        change(manifest)
        return json.dumps(manifest).encode()

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda raw: raw[:-20], id="truncated"),
        pytest.param(lambda raw: b"", id="empty"),
        pytest.param(lambda raw: b"\xff" + raw, id="no UTF-8"),
        pytest.param(lambda raw: b"[]", id="list"),
        pytest.param(lambda raw: b"null", id="null"),
        pytest.param(lambda raw: b"{}", id="no keys"),
        pytest.param(lambda raw: b"[" * 100_000, id="nested"),
        pytest.param(edit(lambda manifest: manifest.update(schema=2)), id="next schema"),
        pytest.param(edit(lambda manifest: manifest.update(schema="1")), id="schema as text"),
        pytest.param(edit(lambda manifest: manifest.pop("schema")), id="no schema"),
        pytest.param(edit(lambda manifest: manifest.pop("sha256")), id="no hashes"),
        pytest.param(edit(lambda manifest: manifest.update(sha256=[])), id="hashes of another type"),
        pytest.param(edit(lambda manifest: manifest["sha256"].pop("test.labels.npy")), id="a hash less"),
        pytest.param(edit(lambda manifest: manifest.pop("floor")), id="no floor"),
        pytest.param(edit(lambda manifest: manifest["floor"].update(test=0.1)), id="other floor"),
    ],
)
def test_damaged_manifest(damage):
    prepare(TOY, SOURCE)
    folder = folder_of(TOY, SOURCE)
    path = folder / "manifest.json"
    path.write_bytes(damage(path.read_bytes()))
    refused(folder, "manifest.json")
    with pytest.raises(UserError, match=r"manifest\.json"):
        prepare(TOY, SOURCE)
    assert prepare(TOY, SOURCE, force=True)
    assert_rows(load(TOY, SOURCE), SOURCE.rows())


def test_manifest_missing():
    prepare(TOY, SOURCE)
    folder = folder_of(TOY, SOURCE)
    (folder / "manifest.json").unlink()
    refused(folder, "manifest.json")
    assert prepare(TOY, SOURCE)
    assert_rows(load(TOY, SOURCE), SOURCE.rows())


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory) -> Path:
    """A home in which the toy is prepared; who changes a file puts it back."""
    place = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LRA_HOME", str(place))
        prepare(TOY, SOURCE)
    return place


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(FILES | {"manifest.json"})) | st.just("manifest.json"),
    st.integers(0, 10_000),
    st.integers(1, 255),
)
def test_flipped_byte_is_noticed(shared_home, name, place, mask):
    """But for a byte of the manifest that changes nothing it says, such as a space instead of a line's end."""
    os.environ["LRA_HOME"] = str(shared_home)  # the autouse fixture puts it back
    folder = folder_of(TOY, SOURCE)
    path = folder / name
    raw = path.read_bytes()
    place %= len(raw)
    path.write_bytes(raw[:place] + bytes([raw[place] ^ mask]) + raw[place + 1 :])
    error = data = None
    try:
        data = load(TOY, SOURCE)
    except UserError as caught:
        error = str(caught)
    finally:
        path.write_bytes(raw)
    if error is None:
        assert name == "manifest.json"
        assert data.manifest == json.loads(raw)
    else:
        assert str(folder) in error
        assert "lra prepare toy" in error or "prepare the task again" in error


# --- Two at once, and ends without warning ---------------------------------------------------------------------


def prepare_halfway(reached: Any, may_go_on: Any, force: bool) -> None:
    def stop_at_block_8(block: int) -> None:
        if block == 8:
            reached.set()
            may_go_on.wait()

    Toy.before = staticmethod(stop_at_block_8)
    prepare(TOY, SOURCE, force=force)


@pytest.fixture
def halfway() -> Iterator[Callable[[bool], tuple[Any, Any]]]:
    """Starts a process that is halfway through preparing the toy; returns it and the event that lets it go on."""
    children = []

    def start(force: bool) -> tuple[Any, Any]:
        reached, may_go_on = SPAWN.Event(), SPAWN.Event()
        child = SPAWN.Process(target=prepare_halfway, args=(reached, may_go_on, force))
        child.start()
        children.append(child)
        assert reached.wait(60)
        return child, may_go_on

    yield start
    for child in children:
        child.kill()
        child.join()


@pytest.mark.parametrize("force", [False, True])
def test_two_at_once(halfway, force):
    folder = folder_of(TOY, SOURCE)
    if force:
        prepare(TOY, SOURCE)
    child, may_go_on = halfway(force)
    with pytest.raises(UserError) as caught:
        prepare(TOY, SOURCE, force=force)
    assert f"toy is being prepared by process {child.pid}" in str(caught.value)
    assert "run the same command again" in str(caught.value)
    if force:
        assert_rows(load(TOY, SOURCE), SOURCE.rows())  # what was there before
    else:
        with pytest.raises(UserError, match="not prepared"):
            load(TOY, SOURCE)
    prepare(TOY, Toy(seed=2))  # of other parameters: nobody's concern
    may_go_on.set()
    child.join(60)
    assert child.exitcode == 0
    assert not prepare(TOY, SOURCE)
    assert_rows(load(TOY, SOURCE), SOURCE.rows())
    assert beside(folder) <= {folder_of(TOY, Toy(seed=2)).name, f".{folder_of(TOY, Toy(seed=2)).name}.lock"}


@pytest.mark.parametrize("force", [False, True])
def test_killed_in_the_middle(halfway, force):
    folder = folder_of(TOY, SOURCE)
    if force:
        prepare(TOY, SOURCE)
    child, _ = halfway(force)
    child.kill()
    child.join()
    if force:
        assert_rows(load(TOY, SOURCE), SOURCE.rows())
    else:
        assert prepared_folders(TOY) == []
        with pytest.raises(UserError, match=r"toy is not prepared"):
            load(TOY, SOURCE)
    assert prepare(TOY, SOURCE, force=force)
    assert_rows(load(TOY, SOURCE), SOURCE.rows())
    assert beside(folder) == set()


SIZES = "min_length = 2", "max_length = 30", "train = 30", "validation = 30", "test = 30"
PREPARE = [sys.executable, "-m", "lra", "prepare", "listops", *(f"--gin=listops.{size}" for size in SIZES)]


@pytest.mark.parametrize(
    ("free", "options"),
    [
        pytest.param(0, [], id="not even the lock"),
        pytest.param(64, [], id="no array"),
        pytest.param(500, [], id="the small arrays"),
        pytest.param(1_200, [], id="all but the manifest"),
        pytest.param(100_000, ["--gin=listops.train = 9000"], id="the first blocks"),
    ],
)
def test_full_disk(tmp_path, empty_home, free, options):
    """No file of the process can grow beyond `free` bytes."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (free, free))
    command = [*PREPARE, "--workers=1", *options]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"lra: cannot write {empty_home}")
    left = [path.name for path in empty_home.rglob("*") if path.name != "tasks"]
    assert all(name.endswith(".lock") for name in left)
