"""Results from elsewhere: what enters is scored by the arena, and what is not of the test split is refused by place."""

import csv
import io
import json
import re

import numpy as np
import pytest
from conftest import SMALL_DATA, bindings
from test_tokens import SIZES

import lra
from lra.cli import main
from lra.errors import UserError
from lra.leaderboard import external
from lra.leaderboard.external_sheet import sheets
from lra.submission import reviews

ABOUT = """
name = "my_mixer"
parameters = 1234
paper = "A paper"
source = "https://example.org/my_mixer"
selection = "last step"
framework = "PyTorch 2.9"
"""
TASKS = {"listops": ("demo", SMALL_DATA), "hops": ("probe", SIZES)}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Both tasks, prepared."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LRA_HOME", str(tmp_path_factory.mktemp("home")))
        for task, (protocol, sizes) in TASKS.items():
            lra.prepare(task, protocol, sizes)
        yield


def answers(task, wrong=0.25):
    """What a program writes: the right answers to all but a share of the test examples, for seeds 3 and 7."""
    test = lra.load_task(task, *TASKS[task])["test"]
    labels = np.array(test.labels)
    rng = np.random.default_rng(0)
    missed = rng.random((2, *labels.shape)) < wrong
    predictions = np.where(missed, (labels + 1) % 2, labels)
    return {"seeds": np.array([3, 7]), "predictions": predictions, "labels": labels}


def enter(folder, arrays, task="listops", about=ABOUT, more=()):
    """Calls the command; returns its exit code and the files that it made."""
    np.savez(folder / "answers.npz", **arrays)
    (folder / "about.toml").write_text(about, "utf-8")
    protocol, sizes = TASKS[task]
    files = ["--predictions", str(folder / "answers.npz"), "--about", str(folder / "about.toml")]
    results = ["--results", str(folder / "results")]
    code = main(
        ["leaderboard", "enter", "--task", task, "--protocol", protocol, *bindings(*sizes), *files, *results, *more]
    )
    return code, sorted((folder / "results" / "records").glob("*.json"))


@pytest.mark.parametrize("task", TASKS)
def test_a_result_is_scored_by_the_arena_and_shown_apart(home, tmp_path, task, capsys):
    arrays = answers(task)
    code, (file,) = enter(tmp_path, arrays, task)
    assert code == 0
    there = arrays["labels"] >= 0
    right = [float((own[there] == arrays["labels"][there]).mean()) for own in arrays["predictions"]]
    result = external.read(file)
    assert [seed.accuracy for seed in result.seeds] == pytest.approx(right)
    assert [seed.seed for seed in result.seeds] == [3, 7]
    if task == "hops":
        bins = np.array(lra.load_task(task, *TASKS[task])["test"].bins)
        level = there & (bins == 2)
        expected = (arrays["predictions"][1][level] == arrays["labels"][level]).mean()
        assert result.seeds[1].by_level[2] == pytest.approx(expected)
    (sheet,) = sheets([result])
    cells = dict(zip([column.name for column in sheet.columns], [cell.text for cell in sheet.entries[0].cells]))
    assert cells["accuracy %"] == f"{100 * np.mean(right):.2f}"
    assert (cells["system"], cells["parameters"], cells["seeds"]) == ("my_mixer", "1,234", "2")
    assert ("reaches" in cells) == (task == "hops")
    assert main(["leaderboard", "build", "--results", str(tmp_path / "results")]) == 0
    assert "from elsewhere" in capsys.readouterr().out
    page = (tmp_path / "results" / "leaderboard" / "index.html").read_text("utf-8")
    assert "Trained elsewhere, scored here" in page
    rows = csv.DictReader(io.StringIO((tmp_path / "results" / "leaderboard" / "leaderboard.csv").read_text("utf-8")))
    assert "my_mixer" not in {row["variant"] for row in rows}  # the rows as data are those that are compared


def test_rows_in_another_order_are_lined_up_by_their_index(home, tmp_path):
    arrays = answers("listops")
    order = np.random.default_rng(1).permutation(len(arrays["labels"]))
    other = {"seeds": arrays["seeds"], "predictions": arrays["predictions"][:, order], "index": order,
             "labels": arrays["labels"][order]}  # fmt: skip
    for name, content in (("a", arrays), ("b", other)):
        (tmp_path / name).mkdir()
        assert enter(tmp_path / name, content)[0] == 0
    (a,), (b,) = ([*(tmp_path / name).glob("results/records/*")] for name in "ab")
    assert a.name == b.name
    assert external.read(a).seeds == external.read(b).seeds


def test_the_same_result_is_one_file(home, tmp_path, capsys):
    for words in ("written to", "there already"):
        code, files = enter(tmp_path, answers("listops"))
        assert (code, len(files)) == (0, 1)
        assert words in capsys.readouterr().out


WRONG = [
    ("another order", lambda a: a | {"labels": a["labels"][::-1]}, r"label \[\d+\] is \d, that of the test split \d"),
    ("another length", lambda a: {k: v[..., :50] for k, v in a.items()}, r"'labels' has shape \(50,\)"),
    ("one seed without answers", lambda a: a | {"predictions": a["predictions"][:1]}, r"asks for \(2, 101\)"),
    ("logits", lambda a: a | {"predictions": a["predictions"] * 1.0}, r"'predictions' is float64.*argmax"),
    ("a class too many", lambda a: a | {"predictions": a["predictions"] + 10}, r"prediction \[0, 0\] is 1\d.*0 to 9"),
    ("a negative class", lambda a: a | {"predictions": a["predictions"] * 0 - 1}, r"prediction \[0, 0\] is -1"),
    ("a seed twice", lambda a: a | {"seeds": np.array([3, 3])}, "seed 3 is in 'seeds' twice"),
    ("a negative seed", lambda a: a | {"seeds": np.array([-1, 3])}, "seed -1 is not from 0"),
    ("no seeds", lambda a: a | {"seeds": np.zeros(0, int)}, r"'seeds' has shape \(0,\)"),
    ("no labels", lambda a: {"seeds": a["seeds"], "predictions": a["predictions"]}, "lacks the array 'labels'"),
    ("one array more", lambda a: a | {"loss": a["seeds"]}, "there is no array 'loss'"),
    ("objects", lambda a: a | {"predictions": np.array([None, "x"])}, "cannot be read as a .npz file"),
    ("an example twice", lambda a: a | {"index": np.array([0, *range(100)])}, "has example 0 twice"),
    ("an example outside", lambda a: a | {"index": np.arange(1, 102)}, "'index' has 101, the examples are 0 to 100"),
    ("a short index", lambda a: a | {"index": np.arange(5)}, r"'index' has shape \(5,\)"),
]


@pytest.mark.parametrize(("change", "says"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_predictions_of_something_else_are_refused_by_place(home, tmp_path, change, says, capsys):
    code, files = enter(tmp_path, change(answers("listops")))
    assert (code, files) == (1, [])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "answers.npz" in error
    assert re.search(says, error), error


def test_a_file_that_is_no_npz(home, tmp_path, capsys):
    for content in (b"", b"no archive", b"PK\x03\x04 cut"):
        (tmp_path / "about.toml").write_text(ABOUT)
        (tmp_path / "answers.npz").write_bytes(content)
        files = ["--predictions", str(tmp_path / "answers.npz"), "--about", str(tmp_path / "about.toml")]
        task = ["--task", "listops", "--protocol", "demo", *bindings(*SMALL_DATA)]
        assert main(["leaderboard", "enter", *task, *files]) == 1
        assert "cannot be read as a .npz file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("about", "says"),
    [
        (ABOUT.replace("parameters = 1234\n", ""), "lacks parameters"),
        (ABOUT.replace("1234", "0"), "parameters"),
        (ABOUT.replace("1234", '"many"'), "parameters"),
        (ABOUT + 'colour = "red"\n', "there is no key 'colour'"),
        (ABOUT.replace("my_mixer", "my mixer", 1), "name"),
        ("name = [", "cannot be read as TOML"),
    ],
)
def test_a_declaration_that_lacks_something_is_refused_by_key(home, tmp_path, about, says, capsys):
    code, files = enter(tmp_path, answers("listops"), about=about)
    assert (code, files) == (1, [])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "about.toml" in error
    assert says in error


def changed(file, change):
    content = json.loads(file.read_text("utf-8"))
    change(content)
    file.write_text(json.dumps(content), "utf-8")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: r["seeds"][0].update(accuracy=1.0), "the test accuracy of seed 3 is 1.0"),
        (lambda r: r["seeds"][1].update(seed=3), "a seed is in it twice"),
        (lambda r: r["about"].update(parameters=1), "not the hash of what it says"),
        (lambda r: r["seeds"][0].update(predictions=r["task"]["test_labels"]), "not the hash of what it says"),
        (lambda r: r.update(kind="own"), "kind"),
        (lambda r: r.update(schema=2), "take a newer lra"),
        (lambda r: r.update(seeds=[]), "0 seeds"),
        (lambda r: r["task"].update(files=None), "lacks the files"),
    ],
)
def test_a_file_that_was_changed_is_left_out_and_may_not_enter(home, tmp_path, change, says, capsys):
    _, (file,) = enter(tmp_path, answers("listops"))
    changed(file, change)
    with pytest.raises(UserError, match="is no result of 'lra leaderboard enter'"):
        external.read(file)
    (review,) = reviews([file], tmp_path / "none")
    assert says in review.reasons[0]
    found, left_out = external.find([file.parent])
    assert (found, len(left_out)) == ([], 1)
    assert main(["leaderboard", "validate", str(file)]) == 1


def test_a_result_on_the_data_of_a_protocol_may_enter_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(TASKS, "listops", ("demo", []))
    lra.prepare("listops", "demo")
    _, (file,) = enter(tmp_path, answers("listops"))
    assert main(["leaderboard", "validate", str(file)]) == 0
    assert "not ranked" in capsys.readouterr().out
    (review,) = reviews([file], tmp_path / "results")
    assert review.reasons == ("the same result is there already: my_mixer",)


def test_data_of_other_sizes_may_not_enter(home, tmp_path):
    _, (file,) = enter(tmp_path, answers("listops"))
    (review,) = reviews([file], tmp_path / "none")
    assert review.reasons == ("task.parameters are not those that protocol demo has for listops",)
