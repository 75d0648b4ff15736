"""Prepared tasks that are damaged, made twice at once or killed: nothing but what was written is ever read."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import FILES, SOURCE, SPAWN, TOY, Toy, assert_rows, beside

from lra.errors import UserError
from lra.tasks.prepared import folder_of, load, prepare, prepared_folders


@pytest.fixture(autouse=True)
def empty_home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


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
        pytest.param(edit(lambda manifest: manifest.update(schema=3)), id="next schema"),
        pytest.param(edit(lambda manifest: manifest.update(schema="2")), id="schema as text"),
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
    """A home in which the toy is prepared. A test that changes a file restores it."""
    place = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LRA_HOME", str(place))
        prepare(TOY, SOURCE)
    return place


@settings(max_examples=300)
@given(
    st.sampled_from(sorted(FILES | {"manifest.json"})) | st.just("manifest.json"),
    st.integers(0, 10_000),
    st.integers(1, 255),
)
def test_flipped_byte_is_noticed(shared_home, name, place, mask):
    """Not noticed is only a byte that does not change what the manifest says, such as a space for a line's end."""
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
    """Starts a process that stops halfway through preparing the toy; returns it and the event that continues it."""
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


SIZES = "min_length = 2", "max_length = 30", "validation = 30", "test = 30"
PREPARE = [sys.executable, "-m", "lra", "prepare", "listops", *(f"--gin=listops.{size}" for size in SIZES)]


@pytest.mark.parametrize(
    ("free", "train"),
    [
        pytest.param(0, 30, id="not even the lock"),
        pytest.param(64, 30, id="no array"),
        pytest.param(500, 30, id="the small arrays"),
        pytest.param(1_200, 30, id="all but the manifest"),
        pytest.param(100_000, 9_000, id="the first blocks"),
    ],
)
def test_full_disk(tmp_path, empty_home, free, train):
    """No file of the process can grow beyond `free` bytes."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (free, free))
    command = [*PREPARE, "--workers=1", f"--gin=listops.train = {train}"]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"lra: cannot write {empty_home}")
    left = [path.name for path in empty_home.rglob("*") if path.name != "tasks"]
    assert all(name.endswith(".lock") for name in left)
