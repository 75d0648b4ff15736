"""A look at the data: what `lra show` prints and draws, and what `lra export` writes."""

import json

import numpy as np
import pytest
from conftest import SMALL_DATA, bindings
from PIL import Image

from lra.cli import main
from lra.recipe import task_and_source
from lra.tasks import TASKS, prepared
from lra.tasks.listops import TOKEN_ID, VOCABULARY

SMALL = {
    "synthetic_text": ["synthetic_text.train = 20"],
    "synthetic_retrieval": ["synthetic_retrieval.train = 20"],
    "pathfinder": ["pathfinder.train = 6", "pathfinder.validation = 3", "pathfinder.test = 3", "pathfinder.chunk = 4"],
}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Prepares a small task; returns the options that name it, and its training split."""
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))

    def make(name):
        options = [name, *bindings(*SMALL[name])]
        assert main(["prepare", *options]) == 0
        return options, prepared.load(*task_and_source(name, None, SMALL[name])).splits["train"]

    return make


def ids(text: str) -> np.ndarray:
    return np.array([TOKEN_ID[token] for token in text.split()])


def test_a_tree_is_shown_with_its_values():
    assert TASKS["listops"].show(ids("[MAX 4 [SM 9 8 [MIN 1 0 ] ] 3 [MED 2 9 ] ]")).splitlines() == [
        "[MAX 4 (7) 3 (5) ] = 7",
        "  [SM 9 8 (0) ] = 7",
        "    [MIN 1 0 ] = 0",
        "  [MED 2 9 ] = 5",
    ]
    assert TASKS["listops"].show(ids("8")) == "8"


def test_the_value_shown_at_the_top_is_the_label(home, capsys):
    assert main(["show", "listops", "--protocol", "demo", "--count", "20", *bindings(*SMALL_DATA)]) == 0
    blocks = [block for block in capsys.readouterr().out.split("train ") if block]
    assert len(blocks) == 20
    for row, block in enumerate(blocks):
        head, tree = block.strip().split("\n\n")
        position, label, count, _ = head.replace(":", ",").replace(",", "").split()
        assert int(position) == row
        assert tree.splitlines()[0].endswith(f"= {label}")
        words = tree.replace("] =", "]").split()
        assert int(count) == sum(word in VOCABULARY for word in words) - tree.count("\n") - 1  # less the values


def test_text_and_pairs(small, capsys):
    options, split = small("synthetic_text")
    capsys.readouterr()
    assert main(["show", *options, "--first", "3", "--count", "1"]) == 0
    said = capsys.readouterr().out
    text = bytes(split.inputs[3, : split.lengths[3]]).decode()
    assert said.strip().endswith(text)
    assert said.startswith(f"train 3: {('negative', 'positive')[split.labels[3]]}, {len(text)} tokens")
    options, split = small("synthetic_retrieval")
    capsys.readouterr()
    assert main(["show", *options, "--count", "2", "--json"]) == 0
    examples = json.loads(capsys.readouterr().out)
    assert [item["documents"] for item in examples] == [
        [split.inputs[row, side, : split.lengths[row, side]].tolist() for side in (0, 1)] for row in (0, 1)
    ]
    assert main(["show", *options, "--count", "1"]) == 0
    said = capsys.readouterr().out
    assert said.index("document a") < said.index("document b")


def test_contact_sheet(small, tmp_path, capsys):
    options, split = small("pathfinder")
    assert main(["show", *options, "--png", str(tmp_path / "sheet.png")]) == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet)
    first = np.asarray(split.inputs[0]).reshape(32, 32).repeat(4, 0).repeat(4, 1)
    assert any(np.array_equal(pixels[y : y + 128, x : x + 128], first) for y in range(12) for x in range(12)), (
        "the first image is in the corner, enlarged four times"
    )


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--split", "tset"], 2, "did you mean 'test'"),
        (["--first", "20"], 2, "20 examples"),
        (["--count", "0"], 2, "--count 0"),
        (["--png", "x.png"], 2, "not made of images"),
        (["--gin", "synthetic_text.seed = 9"], 1, "lra prepare synthetic_text --gin 'synthetic_text.train = 20' --gin"),
    ],
)
def test_mistakes(words, code, says, small, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options, _ = small("synthetic_text")
    capsys.readouterr()
    assert main(["show", *options, *words]) == code
    said = capsys.readouterr()
    assert says in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "x.png").exists()


def test_an_exported_folder_prepares_to_the_same_examples(small, tmp_path, capsys, monkeypatch):
    options, split = small("pathfinder")
    folder = tmp_path / "files"
    assert main(["export", options[0], str(folder), *options[1:], "--workers", "2"]) == 0
    capsys.readouterr()
    assert main(["export", options[0], str(folder), *options[1:]]) == 1
    assert "is there already" in capsys.readouterr().err
    assert main(["export", "listops", str(folder)]) == 2
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "other"))
    assert main(["prepare", *options, "--from", str(folder)]) == 0
    again = prepared.load(*task_and_source("pathfinder", None, SMALL["pathfinder"]))
    np.testing.assert_array_equal(again.splits["train"].inputs, split.inputs)
    np.testing.assert_array_equal(again.splits["train"].labels, split.labels)
