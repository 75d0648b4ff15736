"""What the parts of a record must agree on: a record that contradicts itself is refused."""

import base64
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import changed, make, put, raw, refused, sealed

from lra.files import sha256, sha256_text
from lra.leaderboard.predictions import Packed, labels_file_sha256, pack, unpack
from lra.leaderboard.reading import read
from lra.leaderboard.record import LABELS

RECORD = make()

SOURCES = {"mine.py": "x = 1\n"}
WITH_SOURCE = make(accuracy={0: 0.5, 1: 0.25}, variant__sources=SOURCES, variant__source_sha256=sha256_text("x = 1\n"))


def test_a_record_with_its_source_is_read(tmp_path):
    assert read(put(tmp_path, WITH_SOURCE)) == WITH_SOURCE


PATHS = [
    "../a.py", "/a.py", "a/../../b.py", "./a.py", "a//b.py", "", ".py", ".a.py", "a/.b.py", "C:/a.py", "C:a.py",
    "a\\b.py", "a.py\n", "a\x00.py", "\u202ea.py", "a.pth", "a.py/", "~:a.py", " a.py", "a./b.py", "a" * 81 + ".py",
    "a/" * 32 + "a.py",
]  # fmt: skip
OTHER = pack(np.arange(2000) % 7)
CONTRADICTIONS = [
    ("seeds.0.test.accuracy", 0.5005, "test accuracy of seed 0"),
    ("seeds.0.test.accuracy", 1.5, "not a share"),
    ("seeds.0.predictions", None, "not both"),
    ("seeds.0.predictions", OTHER, "test accuracy of seed 0"),
    ("seeds.0.predictions.sha256", "0" * 64, "predictions of seed 0 is damaged"),
    ("seeds.0.predictions.count", 1999, "has not the 1,999 examples"),
    ("seeds.0.predictions.count", 10**12, "not 1 to"),
    ("seeds.0.predictions.deflated", "!!", "cannot be unpacked"),
    ("seeds.0.predictions.deflated", "AAAA", "cannot be unpacked"),
    ("seeds.0.predictions", pack(np.zeros(1999, int)), "1,999 predictions for 2,000 labels"),
    ("seeds.1.seed", 0, "twice"),
    ("seeds.0.status", "diverged", "seed 0"),
    ("task.test_labels", OTHER, "not those of the data"),
    ("task.files", {}, "not the hash of the task's files"),
    ("task.data_sha256", "0" * 64, "run is not the hash"),
    ("task.examples.test", 1001, "2,000 labels and 1,001 test examples"),
    ("task.examples.test", 1000, "not those of the data"),
    ("config", "train.steps = 601\n", "config_sha256"),
    ("variant.sources", {"mine.py": "x = 2\n"}, "source_sha256"),
    ("variant.sources", SOURCES | {"helper.py": ""}, "source_sha256"),
    ("variant.sources", {}, "has 0 files"),
    ("variant.sources", {f"{number}.py": "" for number in range(1001)}, "has 1,001 files"),
    ("variant.sources", {"a.py": "", "A.py": ""}, "two files of one path"),
    ("variant.sources", {"a.py": "", "a.py/b.py": ""}, "'a.py/b.py' inside a file"),
    ("variant.sources", {"a.py": "x" * ((16 << 20) + 1)}, "more than 16,777,216 characters"),
    *(("variant.sources", {"mine.py": "", path: ""}, "no path of a Python or gin file") for path in PATHS),
    ("variant.name", "linear", "run is not the hash"),
    ("run", "0123456789ab", "run is not the hash"),
    ("status", "diverged", "status is"),
    ("curve.0.loss", [1.0], "curve"),
]


@pytest.mark.parametrize(
    ("path", "value", "what"), CONTRADICTIONS, ids=[f"{path}-{what}" for path, _, what in CONTRADICTIONS]
)
def test_what_contradicts_itself_is_refused(tmp_path, path, value, what):
    refused(put(tmp_path, changed(raw(WITH_SOURCE), path, value)), what)


def test_labels_of_other_data_are_refused_even_if_all_hashes_are_made_anew(tmp_path):
    """A record with other labels has another hash of the data, so it leaves the table."""
    record = changed(raw(WITH_SOURCE), "task.test_labels", OTHER)
    record["task"]["files"][LABELS] = labels_file_sha256(np.arange(2000) % 7)
    for seed in record["seeds"]:
        packed = Packed(**seed["predictions"])
        seed["test"]["accuracy"] = float((unpack(packed, "p") == np.arange(2000) % 7).mean())
    refused(put(tmp_path, record), "data_sha256")
    record["task"]["data_sha256"], record["run"] = "", ""
    again = read(put(tmp_path, sealed(record)))
    assert again.task.data_sha256 != WITH_SOURCE.task.data_sha256


def test_a_few_bytes_that_unpack_to_many_are_refused(tmp_path):
    bomb = base64.b64encode(zlib.compress(bytes(50_000_000), 9)).decode()
    assert len(bomb) < 100_000
    path = put(tmp_path, changed(RECORD, "seeds.0.predictions.deflated", bomb))
    tracemalloc.start()
    refused(path, "has not the 2,000 examples")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_labels_are_hashed_as_numpy_writes_them(tmp_path):
    labels = np.random.default_rng(0).integers(0, 10, 77)
    np.save(tmp_path / "labels.npy", labels.astype(np.int32))
    assert labels_file_sha256(labels) == sha256(tmp_path / "labels.npy")


@settings(max_examples=50)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=300))
def test_predictions_are_unpacked_as_they_were(classes):
    assert unpack(pack(np.array(classes)), "p").tolist() == classes


@pytest.mark.parametrize("classes", [[-1], [256], [0.5]])
def test_only_classes_are_packed(classes):
    with pytest.raises(ValueError, match="0 to 255"):
        pack(np.array(classes))
