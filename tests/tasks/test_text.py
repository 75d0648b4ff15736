"""Text: reviews as bytes, from every kind of source, split by a rule that is written here again."""

import dataclasses
import hashlib
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from examples import assert_same, collect, litter, read, read_archive

from lra.errors import UserError
from lra.tasks import TASKS
from lra.tasks.prepared import load, prepare
from lra.tasks.text import Text, show

TEXT = TASKS["text"]
SOURCE = Text(max_length=48, train=9, validation=3, test=6)
LONG = b"An hour too long. " * 9
TWICE = b"I said it once and I say it again."
BOTH = b"In both halves."
TRAIN = {
    "neg": [b"Bad.<br /><br />Very bad.", "Sch\u00f6n? Nein! \U0001f44e".encode(), TWICE, BOTH, b"no", TWICE],
    "pos": [LONG, b"Fine & good", "Tr\u00e8s bon".encode(), b"zero \x00 byte", b"line\nend\r\n", b"yes"],
}
TEST = {"neg": [b"Dull", b"dull", b"Duller."], "pos": [BOTH, b"Bright", b"Brighter."]}
RATINGS = {"neg": 2, "pos": 9}


@pytest.fixture
def folder(tmp_path) -> Path:
    root = tmp_path / "aclImdb"
    for half, reviews in (("train", TRAIN), ("test", TEST)):
        for name, texts in reviews.items():
            (root / half / name).mkdir(parents=True)
            for number, text in enumerate(texts):
                (root / half / name / f"{number}_{RATINGS[name]}.txt").write_bytes(text)
    (root / "train" / "unsup").mkdir()
    (root / "train" / "unsup" / "0_0.txt").write_bytes(b"Not labelled.")
    (root / "train" / "urls_neg.txt").write_text("http://localhost/\n")
    return root


def law(validation: int = 3) -> dict[str, list[tuple[bytes, int]]]:
    """The reviews of each split, by the rule."""
    halves = [
        sorted(
            ((text, label) for label, name in enumerate(("neg", "pos")) for text in reviews[name]),
            key=lambda row: hashlib.sha256(row[0]).hexdigest(),
        )
        for reviews in (TRAIN, TEST)
    ]
    return {"train": halves[0][validation:], "validation": halves[0][:validation], "test": halves[1]}


# --- What is read ----------------------------------------------------------------------------------------------


def test_examples_are_the_bytes_by_the_order_of_their_hashes(folder):
    splits, warnings = read(SOURCE, folder)
    assert warnings == []
    assert list(splits) == ["train", "validation", "test"]
    for split, rows in law().items():
        assert splits[split].inputs.dtype == np.uint8
        assert splits[split].inputs.shape == (len(rows), 48)
        assert [bytes(row) for row in splits[split].inputs] == [(text[:48] + bytes(48))[:48] for text, _ in rows]
        assert splits[split].lengths.tolist() == [min(48, len(text)) for text, _ in rows]
        assert splits[split].labels.tolist() == [label for _, label in rows]


def test_a_review_that_is_there_twice_is_on_one_side_of_the_cut(folder):
    splits, _ = read(SOURCE, folder)
    times = [sum(bytes(row).rstrip(b"\0") == TWICE for row in splits[s].inputs) for s in ("train", "validation")]
    assert sorted(times) == [0, 2]


def test_a_zero_byte_in_a_review_is_a_token(folder):
    splits, _ = read(SOURCE, folder)
    rows = [bytes(row[:n]) for part in splits.values() for row, n in zip(part.inputs, part.lengths)]
    assert [row for row in rows if row.startswith(b"zero")] == [b"zero \x00 byte"]


def test_without_validation_all_stay_in_train(folder):
    splits, _ = read(dataclasses.replace(SOURCE, train=12, validation=0), folder)
    assert list(splits) == ["train", "test"]
    train = splits["train"]
    rows = Counter((bytes(row[:n]), label) for row, n, label in zip(train.inputs, train.lengths, train.labels))
    assert rows == Counter((text[:48], label) for text, label in law(0)["train"])


def test_the_same_from_folder_parent_and_tfds(folder, monkeypatch):
    expected, _ = read(SOURCE, folder)
    assert_same(read(SOURCE, folder.parent)[0], expected)
    (folder / "train" / "neg" / ".DS_Store").write_bytes(b"\xff")
    assert_same(read(SOURCE, folder)[0], expected)

    def tfds(name, split, task, published):
        assert name == "imdb_reviews/plain_text"
        reviews = {"train": TRAIN, "test": TEST}[split]
        rows = [{"text": text, "label": np.int64(name == "pos")} for name in ("pos", "neg") for text in reviews[name]]
        return iter(rows[::-1])

    monkeypatch.setattr("lra.tasks.text.from_tfds", tfds)
    assert_same(collect(SOURCE.generate()), expected)


def test_prepared_from_an_archive(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    expected, _ = read(SOURCE, folder)
    archive = tmp_path / "aclImdb_v1.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, "aclImdb")
    prepare(TEXT, SOURCE, read_from=archive)
    data = load(TEXT, SOURCE)
    assert_same(data.splits, expected)
    assert [path.name for path in data.folder.iterdir() if not path.is_file()] == []
    trained = {text[:48] for text, _ in law()["train"]}
    assert BOTH in trained
    assert data.manifest["also_in_train"] == {
        split: sum(text[:48] in trained for text, _ in law()[split]) for split in ("validation", "test")
    }
    assert data.manifest["also_in_train"]["test"] == 1


def test_show():
    cut = np.frombuffer("Sch\u00f6n".encode()[:4], np.uint8)
    assert show(cut) == "Sch\ufffd"
    assert show(np.frombuffer("Sch\u00f6n".encode(), np.uint8)) == "Sch\u00f6n"


# --- What is not -----------------------------------------------------------------------------------------------


def rename(old: str, new: str):
    return lambda folder: (folder / old).rename(folder / new)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        pytest.param(lambda f: shutil.rmtree(f / "test" / "pos"), "aclImdb/test/pos", id="no folder"),
        pytest.param(rename("train/neg/2_2.txt", "train/neg/6_2.txt"), "train/neg has no review 2", id="number"),
        pytest.param(rename("train/neg/2_2.txt", "train/neg/2_2.TXT"), "train/neg/2_2.TXT", id="renamed"),
        pytest.param(rename("train/neg/2_2.txt", "train/neg/2.txt"), "train/neg/2.txt", id="no rating"),
        pytest.param(rename("train/neg/2_2.txt", "train/neg/2_7.txt"), "train/neg/2_7.txt", id="rating of pos"),
        pytest.param(rename("test/pos/1_9.txt", "test/pos/1_5.txt"), "test/pos/1_5.txt", id="rating of none"),
        pytest.param(lambda f: (f / "train/pos/3_9.txt").write_bytes(b""), "train/pos/3_9.txt", id="empty"),
        pytest.param(lambda f: (f / "train/pos/3_9.txt").write_bytes(b"ab\xff"), "3_9.txt, byte 2", id="no UTF-8"),
        pytest.param(lambda f: (f / "train/pos/6_9.txt").mkdir(), "train/pos/6_9.txt", id="folder as review"),
        pytest.param(lambda f: (f / "train/pos/6_9.txt").write_bytes(b"new"), "13 reviews", id="one too many"),
        pytest.param(lambda f: (f / "test/pos/2_9.txt").unlink(), "5 reviews", id="last one missing"),
        pytest.param(lambda f: (f / "test/pos/x\ny").write_bytes(b"new"), "test/pos/x", id="name of two lines"),
    ],
)
def test_damaged_folder(folder, damage, named):
    damage(folder)
    with pytest.raises(UserError) as caught:
        read(SOURCE, folder)
    assert named in str(caught.value)
    assert str(folder) in str(caught.value) or str(folder.parent) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_half_is_not_read_as_both(folder):
    """In IMDb the training half, which is alone in the folder, has as many reviews as the test half."""
    with pytest.raises(UserError, match="test"):
        read(Text(max_length=48, train=9, validation=3, test=12), folder / "train")


def test_wrong_count_from_tfds(monkeypatch):
    monkeypatch.setattr("lra.tasks.text.from_tfds", lambda *_: iter([{"text": b"x", "label": 1}]))
    with pytest.raises(UserError, match=r"imdb_reviews.* 1 reviews.* 12 were expected"):
        collect(SOURCE.generate())


@pytest.mark.parametrize("change", [{"max_length": 0}, {"train": 0}, {"validation": -1}, {"test": 2.0}])
def test_sizes_are_numbers(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(SOURCE, **change)


def test_a_folder_or_archive_with_what_file_managers_leave_and_without_its_top_is_the_same(folder, tmp_path):
    expected, _ = read(SOURCE, folder)
    litter(folder)
    assert_same(read(SOURCE, folder)[0], expected)
    assert_same(read(SOURCE, folder.parent)[0], expected)
    for number, top in enumerate(("", "./", "aclImdb/", "./aclImdb/")):
        assert_same(read_archive(SOURCE, folder, top, tmp_path / f"{number}"), expected)
