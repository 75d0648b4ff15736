"""Retrieval: pairs of papers from small files in LRA's format."""

import dataclasses
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
from examples import assert_same, read

from lra.errors import UserError
from lra.tasks import TASKS
from lra.tasks.prepared import load, prepare
from lra.tasks.retrieval import Retrieval

RETRIEVAL = TASKS["retrieval"]
SOURCE = Retrieval(max_length=20, train=5, validation=3, test=2)
STEMS = {"train": "train", "validation": "eval", "test": "test"}
LONG = "This abstract is longer than twenty bytes."
ROWS = {  # as in LRA's files, but for the ids: label, text, text
    "train": [
        ("1.0", "Parsing.", "More parsing"), ("0.0", LONG, "na\u00efve Bayes"), ("0", "a  b ", " c"),
        ("1", "quote \" and \\t", LONG), ("0.0", "12345678901234567890", "1"),
    ],
    "validation": [("1.0", "x", "y"), ("0.0", "v\u00e9lo", LONG), ("0.0", "x", "x")],
    "test": [("0.0", "last", "but one"), ("1.0", "last", "last")],
}  # fmt: skip


def lines_of(rows: list[tuple[str, str, str]], ids: str = "P{:02}-1001") -> list[bytes]:
    return [
        f"{label}\t{ids.format(i)}\t{ids.format(i + 50)}\t{first}\t{second}\n".encode()
        for i, (label, first, second) in enumerate(rows)
    ]


def write(folder: Path, rows: dict[str, list[tuple[str, str, str]]] = ROWS, **how: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, stem in STEMS.items():
        (folder / f"new_aan_pairs.{stem}.tsv").write_bytes(b"".join(lines_of(rows[split], **how)))
    return folder


# --- What is read ----------------------------------------------------------------------------------------------


def test_rows(tmp_path):
    splits, warnings = read(SOURCE, write(tmp_path))
    assert warnings == []
    assert list(splits) == list(ROWS)
    for split, rows in ROWS.items():
        part, texts = splits[split], [[text.encode() for text in row[1:]] for row in rows]
        assert (part.inputs.shape, part.inputs.dtype) == ((len(rows), 2, 20), np.uint8)
        assert part.labels.tolist() == [int(label[0]) for label, *_ in rows]
        assert part.lengths.tolist() == [[min(20, len(text)) for text in pair] for pair in texts]
        assert [[bytes(row) for row in pair] for pair in part.inputs] == [
            [text[:20].ljust(20, b"\0") for text in pair] for pair in texts
        ]


def test_ids_and_line_ends_do_not_matter(tmp_path):
    expected, _ = read(SOURCE, write(tmp_path / "a"))
    assert_same(read(SOURCE, write(tmp_path / "b", ids=""))[0], expected)
    assert_same(read(SOURCE, write(tmp_path / "b", ids="any \u00e9 {}"))[0], expected)
    for path in (tmp_path / "b").iterdir():
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n").removesuffix(b"\r\n"))
    assert_same(read(SOURCE, tmp_path / "b")[0], expected)


def test_order_does_not_depend_on_blocks_or_workers(tmp_path, monkeypatch):
    rows = {s: [(str(i % 2), f"{s} {i}", f"{i * i}") for i in range(n)] for s, n in SOURCE.sizes.items()}
    write(tmp_path, rows)
    expected, _ = read(SOURCE, tmp_path)
    assert [bytes(row[0]).rstrip(b"\0") for row in expected["train"].inputs] == [b"train %d" % i for i in range(5)]
    monkeypatch.setattr("lra.tasks.retrieval.BLOCK", 2)
    for workers in (1, 2):
        blocks = list(SOURCE.read(tmp_path, workers, pytest.fail))
        assert [(split, len(block)) for split, block in blocks] == [
            ("train", 2), ("train", 2), ("train", 1), ("validation", 2), ("validation", 1), ("test", 2),
        ]  # fmt: skip
        assert_same(read(SOURCE, tmp_path, workers)[0], expected)


def test_documents_without_text_are_counted(tmp_path):
    rows = ROWS | {
        "train": [("1", "", ""), ("0", "a", ""), *ROWS["train"][:3]],
        "test": [("0", "", "b"), ("1", "a", "b")],
    }
    splits, warnings = read(SOURCE, write(tmp_path, rows))
    assert warnings == ["3 pairs have a document without text"]
    assert splits["train"].lengths[:2].tolist() == [[0, 0], [1, 0]]


@pytest.mark.parametrize("nest", ["lra_release/lra_release/tsv_data", "lra_release/tsv_data", "tsv_data", "."])
def test_every_folder_of_lras_archive_will_do(tmp_path, nest):
    expected, _ = read(SOURCE, write(tmp_path / "plain"))
    write(tmp_path / "top" / nest)
    assert_same(read(SOURCE, tmp_path / "top")[0], expected)


def test_prepared_from_an_archive(tmp_path, monkeypatch):
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    rows = ROWS | {"test": [ROWS["train"][1], ("0", "a", "")]}
    expected, _ = read(SOURCE, write(tmp_path / "tsv", rows))
    archive = tmp_path / "lra_release.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "tsv", "lra_release/lra_release/tsv_data")
    prepare(RETRIEVAL, SOURCE, read_from=archive)
    data = load(RETRIEVAL, SOURCE)
    assert_same(data.splits, expected)
    assert data.manifest["also_in_train"] == {"validation": 0, "test": 1}
    assert data.manifest["warnings"] == ["1 pairs have a document without text"]


# --- What is not -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "what"),
    [
        pytest.param(b"1.0\tP1\tP2\tonly one text\n", "4 columns", id="too few columns"),
        pytest.param(b"\n", "1 columns", id="blank line"),
        pytest.param(b"1.0\tP1\tP2\ta\tb\tc\n", "6 columns", id="too many columns"),
        pytest.param(b"2.0\tP1\tP2\ta\tb\n", "'2.0'", id="label"),
        pytest.param(b"\tP1\tP2\ta\tb\n", "label", id="no label"),
        pytest.param(b"1.0 \tP1\tP2\ta\tb\n", "'1.0 '", id="label with a space"),
        pytest.param(b"1.0\tP1\tP2\ta\tb\xff\n", "not UTF-8 at byte 13", id="no UTF-8"),
        pytest.param(b"1.0\tP1\tP2\t\xc3\tb\n", "not UTF-8 at byte 10", id="no UTF-8 in the first"),
        pytest.param(b"1.0\tP1\tP2\t\xc3\xa9\t\xa9\n", "not UTF-8 at byte 13", id="no UTF-8, seen before"),
    ],
)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_damaged_line(tmp_path, split, line, what):
    write(tmp_path)
    path = tmp_path / f"new_aan_pairs.{STEMS[split]}.tsv"
    lines = lines_of(ROWS[split])
    path.write_bytes(b"".join([*lines[:2], line, *lines[3:]]))
    with pytest.raises(UserError) as caught:
        read(SOURCE, tmp_path)
    message = str(caught.value)
    assert f"{path}, line 3: " in message
    assert what in message
    assert "\n" not in message


def test_line_of_a_damage_in_a_later_block(tmp_path, monkeypatch):
    monkeypatch.setattr("lra.tasks.retrieval.BLOCK", 2)
    write(tmp_path, ROWS | {"train": [*ROWS["train"][:4], ("x", "a", "b")]})
    with pytest.raises(UserError, match=r"train\.tsv, line 5: "):
        read(SOURCE, tmp_path)


@pytest.mark.parametrize("stem", STEMS.values())
def test_missing_file(tmp_path, stem):
    path = write(tmp_path) / f"new_aan_pairs.{stem}.tsv"
    path.unlink()
    with pytest.raises(UserError, match=path.name):
        read(SOURCE, tmp_path)
    path.mkdir()
    with pytest.raises(UserError, match=path.name):
        read(SOURCE, tmp_path)


@pytest.mark.parametrize(("split", "count"), [("train", 0), ("train", 4), ("validation", 2), ("test", 1)])
def test_wrong_count(tmp_path, split, count):
    write(tmp_path, ROWS | {split: ROWS[split][:count]})
    with pytest.raises(UserError, match=f"{STEMS[split]}.tsv has {count} rows, {len(ROWS[split])} were expected"):
        read(SOURCE, tmp_path)


def test_it_cannot_be_generated():
    with pytest.raises(UserError, match=re.escape("new_aan_pairs.{train,eval,test}.tsv")) as caught:
        SOURCE.generate(1)
    assert "storage.googleapis.com/long-range-arena/lra_release.gz" in str(caught.value)
    assert "--from" in str(caught.value)


def test_sizes_are_numbers():
    with pytest.raises(ValueError, match="max_length"):
        dataclasses.replace(SOURCE, max_length=0)
