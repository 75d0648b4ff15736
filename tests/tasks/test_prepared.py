"""Prepared tasks: what is written is what was generated, and nothing else is ever read."""

import collections
import dataclasses
import hashlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from examples import decode
from toy import COLUMNS, FILES, SOURCE, TOY, Toy, assert_rows, beside, content

from lra.errors import UserError
from lra.tasks import TASKS, Split
from lra.tasks.listops import LISTOPS, ListOps
from lra.tasks.prepared import folder_of, home, load, prepare, prepared_folders, read_manifest


@pytest.fixture(autouse=True)
def empty_home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


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
    assert {s: {k: n for k, n in enumerate(tally) if n} for s, tally in manifest["labels"].items()} == counts
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
    """The majority is that of the training split, not that of each split."""

    class Skewed(Toy):
        def generate(self, workers: int = 1) -> Iterator[tuple[str, Split]]:
            for split, labels in {"train": [2, 2, 5], "validation": [5, 5, 5, 2], "test": [0, 5]}.items():
                yield (
                    split,
                    Split(np.ones((len(labels), 5), np.uint8), np.ones(len(labels), np.int32), np.int32(labels)),
                )

    source = Skewed(train=3, validation=4, test=2, seed=1)
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
                    array = getattr(rows[split], column)
                    array[-1] = np.where(array[-1] > 0, array[-1] - 1, 1)
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


# --- What is known of a task ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in TASKS if name.startswith("synthetic_")])
def test_a_stand_in_is_the_same_everywhere(name):
    """Preparing compares the examples with the task's hash."""
    assert TASKS[name].data_sha256
    assert prepare(TASKS[name], TASKS[name].source())


def test_other_examples_under_the_same_name_are_refused(tmp_path):
    (tmp_path / "rows").touch()
    task = dataclasses.replace(TOY, data_sha256="0" * 64)
    with pytest.raises(UserError, match=r"this machine generated other examples for toy 3\.2\.1"):
        prepare(task, Toy())
    assert not folder_of(task, Toy()).exists()
    assert prepare(task, Toy(seed=1)), "other parameters have other examples"
    assert prepare(task, Toy(), read_from=tmp_path), "LRA's own files hold others"
    task = dataclasses.replace(task, name="other", origin="TFDS other")
    with pytest.raises(UserError, match="a file of it was changed"):
        prepare(task, Toy(), read_from=tmp_path)
    assert not folder_of(task, Toy()).exists()


def test_examples_that_are_also_in_train_are_counted():
    class Repeating(Toy):
        def generate(self, workers: int = 1) -> Iterator[tuple[str, Split]]:
            rows = [[1, 2, 3, 0, 0], [1, 2, 3, 4, 0], [9, 9, 0, 0, 0]]
            for split, lengths in {"train": [3, 4, 2], "validation": [3, 3, 1], "test": [4, 4, 2]}.items():
                yield split, Split(np.array(rows, np.uint8), np.array(lengths, np.int32), np.zeros(3, np.int32))

    source = Repeating(train=3, validation=3, test=3, seed=1)
    prepare(TOY, source)
    # [1, 2, 3] is in train; so would be [1, 2, 3, 4] cut to 3 tokens if the padding were not told from a token
    assert load(TOY, source).manifest["also_in_train"] == {"validation": 1, "test": 2}


def test_a_split_without_examples_has_the_columns_of_the_others():
    source = Toy(validation=0, seed=1)
    prepare(TOY, source)
    data = load(TOY, source)
    assert data.splits["validation"].inputs.shape == (0, 5)
    assert data.splits["validation"].labels.dtype == np.int32
    assert data.manifest["floor"]["validation"] is None
    assert data.manifest["floor"]["test"] > 0


def test_an_archive_is_read_like_its_folder(tmp_path):
    with tarfile.open(tmp_path / "toy.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("deep/rows"))
    # the archive has it one level deeper; the error names the archive and not where it was unpacked
    with pytest.raises(UserError, match=r"/toy\.tar\.gz/rows is not there"):
        prepare(TOY, SOURCE, read_from=tmp_path / "toy.tar.gz")
    assert beside(folder_of(TOY, SOURCE)) == set()
    with tarfile.open(tmp_path / "toy.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("rows"))
    assert prepare(TOY, SOURCE, read_from=tmp_path / "toy.tar.gz")
    assert_rows(load(TOY, SOURCE), SOURCE.rows())
    assert content(folder_of(TOY, SOURCE)).keys() == FILES | {"manifest.json"}
    assert load(TOY, SOURCE).manifest["origin"] == str(tmp_path / "toy.tar.gz")


def test_a_folder_made_with_other_parameters_is_not_read():
    """Such a folder is left after a default changes and the version does not."""
    prepare(TOY, SOURCE)
    folder_of(TOY, SOURCE).rename(folder_of(TOY, Toy(seed=3)))
    for attempt in (prepare, load):
        with pytest.raises(UserError, match="prepared with other parameters"):
            attempt(TOY, Toy(seed=3))
