"""Results from elsewhere: what enters is scored by the arena, and what is not of the test split is refused by place."""

import csv
import io
import json
import pickle
import re
import zipfile

import msgspec
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
TOKENS = ["intersect.train = 40", "intersect.validation = 12", "intersect.test = 15"]  # few of which have labels
TASKS = {"listops": ("demo", SMALL_DATA), "hops": ("probe", SIZES), "intersect": ("probe", TOKENS)}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The tasks, prepared."""
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
    result = external.read(file, {})
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
    assert ("reaches" in cells) == (result.task.difficulty is not None) == (task != "listops")
    assert main(["leaderboard", "build", "--results", str(tmp_path / "results")]) == 0
    assert "from elsewhere" in capsys.readouterr().out
    page = (tmp_path / "results" / "leaderboard" / "index.html").read_text("utf-8")
    assert "Trained elsewhere, scored here" in page
    rows = csv.DictReader(io.StringIO((tmp_path / "results" / "leaderboard" / "leaderboard.csv").read_text("utf-8")))
    assert "my_mixer" not in {row["variant"] for row in rows}  # these are the rows that are compared
    (row,) = csv.DictReader(io.StringIO((tmp_path / "results" / "leaderboard" / "elsewhere.csv").read_text("utf-8")))
    assert float(row["accuracy_mean"]) == pytest.approx(np.mean(right))
    assert (row["system"], row["parameters"], row["seeds"], row["paper"]) == ("my_mixer", "1234", "2", "A paper")


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
    assert external.read(a, {}).seeds == external.read(b, {}).seeds


@pytest.mark.parametrize("kind", ["int8", "int16", "uint8", "uint16", "uint32", "uint64", ">i4"])
def test_whole_numbers_of_any_width_mean_the_same(home, tmp_path, kind):
    """What stands where there is no label does not count, whatever -1 became in an unsigned type."""
    arrays = answers("intersect")
    none = arrays["labels"] < 0
    assert none.any()
    arrays["predictions"][:, none] = -1
    expected = external.read(enter(tmp_path, arrays, "intersect")[1][0], {}).seeds
    told = np.where(none, -100, arrays["labels"])  # as PyTorch says that there is no label
    other = {"seeds": arrays["seeds"], "predictions": arrays["predictions"].astype(kind), "labels": told}
    code, (file,) = enter(tmp_path, other, "intersect")
    assert code == 0
    assert external.read(file, {}).seeds == expected


def test_the_same_answers_are_one_file_which_takes_corrections(home, tmp_path, capsys):
    other = ABOUT.replace("1234", "99").replace("A paper", "Another")
    for about, words in ((ABOUT, "written to"), (ABOUT, "there already"), (other, "parameters, paper corrected in")):
        code, (file,) = enter(tmp_path, answers("listops"), about=about)
        assert code == 0
        assert words in capsys.readouterr().out
    assert external.read(file, {}).about.parameters == 99
    older = file.read_text("utf-8").replace("Another", "Older").replace('"entered_at": "20', '"entered_at": "19')
    for name in ("external-a.json", "external-z.json"):
        file.with_name(name).write_text(older, "utf-8")
    (result,) = external.find([file.parent], {})[0]
    assert result.about.paper == "Another"


def test_a_system_of_another_name_may_have_the_same_answers(home, tmp_path):
    """On a probe several systems are all right. So may be several seeds, or all that learnt nothing."""
    labels = answers("hops", 0)["labels"]
    for name, own in (("a", labels), ("b", labels), ("c", labels * 0)):
        arrays = {"seeds": np.arange(3), "predictions": np.stack([own] * 3), "labels": labels}
        code, files = enter(tmp_path, arrays, "hops", ABOUT.replace("my_mixer", name, 1))
        assert code == 0
    assert len(files) == 3


def test_sizes_that_are_not_the_protocols_stand_in_the_title(home, tmp_path):
    _, (file,) = enter(tmp_path, answers("listops"))
    result = external.read(file, {})
    assert set(result.changes) == set(SMALL_DATA)
    usual = msgspec.structs.replace(result, changes=())
    plain, changed = sheets([usual, result])
    assert plain.title == "listops 1.0.0, protocol demo: from elsewhere"
    assert all(line in changed.title for line in SMALL_DATA)
    assert plain.name != changed.name
    (foreign,) = sheets([usual], arena=())
    assert "not a task of the arena" in foreign.title


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--gin", "train.steps = 500"], "'train.steps = 500' sets nothing here"),
        (["--predictions", "nowhere/answers.npz"], "no file is called 'nowhere/answers.npz'"),
        (["--predictions", "FOLDER/answers"], r"did you mean '.*/answers\.npz'"),
        (["--predictions", "FOLDER"], "is a folder; name a .npz file"),
        (["--about", "FOLDER/abuot.toml"], r"did you mean '.*/about\.toml'"),
        (["--task", "intersect", "--protocol", "demo"], r"no recipe for intersect \(it has recipes for .*probe\)"),
    ],
)
def test_a_wrong_call_is_refused_with_the_way_out(home, tmp_path, words, says, capsys):
    more = [word.replace("FOLDER", str(tmp_path)) for word in words]
    code, files = enter(tmp_path, answers("listops"), more=more)
    assert (code, files) == (2, [])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(says, error), error


def test_a_task_from_outside_can_have_results(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["new-task", "my_own"]) == 0
    file = str(tmp_path / "my_own.py")
    try:
        assert main(["prepare", "--import", file, "my_own", "--protocol", "demo"]) == 0
        test = lra.load_task("my_own", "demo")["test"]
        np.savez(tmp_path / "a.npz", seeds=[0], predictions=np.array(test.labels)[None], labels=test.labels)
        (tmp_path / "a.toml").write_text(ABOUT)
        del lra.tasks.TASKS["my_own"]  # so that this call has to load it
        call = ["leaderboard", "enter", "--import", file, "--task", "my_own", "--protocol", "demo"]
        assert main([*call, "--predictions", "a.npz", "--about", "a.toml", "--results", "results"]) == 0
    finally:
        lra.tasks.TASKS.pop("my_own", None)
    assert main(["leaderboard", "build", "--results", "results"]) == 0
    assert "my_own 1.0.0, protocol demo, not a task of the arena: from elsewhere" in (
        tmp_path / "results" / "leaderboard" / "leaderboard.md"
    ).read_text("utf-8").replace("\\", "")


def by_index(arrays, place=None, value=None):
    """The answers in the opposite order, with their index, and one of them changed in the file."""
    turned = {"seeds": arrays["seeds"], "predictions": arrays["predictions"][:, ::-1].copy(),
              "labels": arrays["labels"][::-1], "index": np.arange(len(arrays["labels"]))[::-1]}  # fmt: skip
    if place:
        turned["predictions"][tuple(place[1:])] = value
    return turned


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
    (
        "objects",
        lambda a: a | {"predictions": np.array([None, "x"])},
        "'predictions' cannot be read.*no array of numbers",
    ),
    ("spans of time", lambda a: a | {"seeds": np.array([3, 7], "m8[s]")}, "'seeds' is timedelta64"),
    (
        "a number beyond 64 bits",
        lambda a: a | {"predictions": a["predictions"].astype("u8") - 1 - a["labels"].astype("u8")},
        r"prediction \[0, \d+\] is 9223372036854775807",
    ),
    (
        "one seed's answers twice",
        lambda a: a | {"predictions": a["predictions"][[1, 1]]},
        "seeds 3 and 7 give the same",
    ),
    ("a class too many, by index", lambda a: by_index(a, [5, 1, 7], 10), r"prediction \[1, 7\] is 10"),
    (
        "a wrong index",
        lambda a: by_index(a) | {"index": np.arange(101)},
        r"label \[0\], example 0 by 'index', is.*is wrong",
    ),
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


def raw_members():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("seeds", "predictions", "labels"):
            archive.writestr(name, b"x")
    return file.getvalue()


def single():
    file = io.BytesIO()
    np.save(file, np.arange(3))
    return file.getvalue()


def test_a_file_that_is_no_npz(home, tmp_path, capsys):
    for content in (b"", b"no archive", b"PK\x03\x04 cut", pickle.dumps({"seeds": [0]}), raw_members(), single()):
        (tmp_path / "about.toml").write_text(ABOUT)
        (tmp_path / "answers.npz").write_bytes(content)
        files = ["--predictions", str(tmp_path / "answers.npz"), "--about", str(tmp_path / "about.toml")]
        task = ["--task", "listops", "--protocol", "demo", *bindings(*SMALL_DATA)]
        assert main(["leaderboard", "enter", *task, *files]) == 1
        error = capsys.readouterr().err
        assert re.search(r"numpy\.savez|whole numbers", error), error
        assert error.count("\n") == 1
        assert "pickle" not in error  # NumPy advises to load it unsafely


@pytest.mark.parametrize(
    ("about", "says"),
    [
        (ABOUT.replace("parameters = 1234\n", ""), "lacks parameters"),
        (ABOUT.replace("1234", "0"), "parameters is 0, not a whole number from 1"),
        (ABOUT.replace("1234", "true"), "parameters is True, not a whole number from 1"),
        (ABOUT.replace("1234", '"many"'), "parameters is 'many', not a whole number from 1"),
        (ABOUT + 'colour = "red"\n', "there is no key 'colour'"),
        (ABOUT.replace("my_mixer", "my mixer", 1), "name is 'my mixer'; take at most 64 letters, digits"),
        (ABOUT.replace("my_mixer", "transformer", 1), "'transformer' is the name of one of the arena's variants"),
        (ABOUT.replace('"A paper"', "7"), 'paper is 7, not a text; write it as paper = "..."'),
        (ABOUT.replace("A paper", " "), "paper says nothing"),
        (ABOUT.replace("A paper", "\u200b"), "paper has the invisible character U+200B"),
        (ABOUT.replace("A paper", "\u202eA"), "paper has the invisible character U+202E"),
        (ABOUT + 'note = "\\u0000"\n', "note has the invisible character U+0000"),
        (ABOUT.replace("A paper", "A" * 301), "paper has 301 characters, not at most 300"),
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
        (lambda r: r["about"].update(name="other"), "not the hash of what it says"),
        (lambda r: r["about"].update(parameters=0), "parameters is 0"),
        (lambda r: r["about"].update(paper=" "), "paper says nothing"),
        (lambda r: r["task"]["floor"].update(test=0.01), "the floor 0.01 is not the share of a label"),
        (lambda r: r.update(entered_at="<b>never</b>"), "entered_at is no time"),
        (lambda r: r.update(schema=-7), "schema"),
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
        external.read(file, {})
    (review,) = reviews([file], tmp_path / "none")
    assert says in review.reasons[0]
    found, left_out = external.find([file.parent], {})
    assert (found, len(left_out)) == ([], 1)
    assert main(["leaderboard", "validate", str(file)]) == 1


def test_a_result_on_the_data_of_a_protocol_may_enter_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(TASKS, "listops", ("demo", []))
    lra.prepare("listops", "demo")
    _, (file,) = enter(tmp_path, answers("listops"))
    assert main(["leaderboard", "validate", str(file)]) == 0
    assert "not ranked" in capsys.readouterr().out
    copy, corrected = file.with_name("external-copy.json"), tmp_path / "external-corrected.json"
    copy.write_bytes(file.read_bytes())
    first, second = reviews([file, copy], tmp_path / "none")
    assert (first.reasons, len(second.reasons)) == ((), 1)
    assert second.reasons[0].startswith(f"the same answers of my_mixer are there already: {file}")
    copy.unlink()
    assert reviews([file], tmp_path / "results")[0].reasons == ()  # as CI looks at what is published
    corrected.write_bytes(file.read_bytes().replace(b"1234", b"99"))
    assert "replace that file" in reviews([corrected], tmp_path / "results")[0].reasons[0]


def test_a_class_that_the_task_has_not_is_no_answer(home, tmp_path, monkeypatch):
    _, (file,) = enter(tmp_path, answers("listops"))
    assert external.find([file.parent], {"listops": 10})[1] == []
    highest = int(answers("listops")["predictions"].max())
    (line,) = external.find([file.parent], {"listops": highest})[1]
    assert f"is no class, 0 to {highest - 1}" in line


def test_other_commands_say_what_the_file_is(home, tmp_path, capsys):
    _, (file,) = enter(tmp_path, answers("listops"))
    run, results = file.stem.split(".")[-1], ["--results", str(tmp_path / "results")]
    renamed = tmp_path / "foo.json"
    renamed.write_bytes(file.read_bytes())
    (review,) = reviews([renamed], tmp_path / "none")
    assert "is a result from elsewhere" in review.reasons[0]
    for words in (["compare", str(file), run], ["reproduce", run], ["compare", str(renamed), run]):
        assert main([*words, *results]) in (1, 2)
        assert "is a result from elsewhere" in capsys.readouterr().err
    assert main(["runs", "--put-away", run[:6], *results]) == 0
    assert not file.exists()


def test_data_of_other_sizes_may_not_enter(home, tmp_path):
    _, (file,) = enter(tmp_path, answers("listops"))
    (review,) = reviews([file], tmp_path / "none")
    assert len(review.reasons) == 1
    assert all(line in review.reasons[0] for line in SMALL_DATA)
    changed(file, lambda result: result.update(changes=[]))
    (review,) = reviews([file], tmp_path / "none")
    assert review.reasons == ("task.parameters are not those that protocol demo has for listops",)
