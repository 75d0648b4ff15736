"""The command line: exit codes, one line per mistake, and no heavy import before it is needed."""

import json
import subprocess
import sys

import pytest
from conftest import SMALL, SMALL_DATA, bindings, lra

from lra.cli import main

RUN = ["run", "--task", "listops", "--variant", "linear", "--protocol", "demo"]


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["leaderboard", "build", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(words):
    call = (
        "import sys\nfrom lra.cli import main\n"
        "try: main()\nexcept SystemExit as stop: assert not stop.code\n"
        "heavy = {'jax', 'numpy', 'flax', 'rich', 'gin', 'orbax', 'tensorflow'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", call, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "lra" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["rnu"], 2, "did you mean 'run'"),
        (["run", "--taks", "listops"], 2, "--task"),
        ([*RUN, "--protocl", "demo"], 2, "did you mean '--protocol'"),
        (["prepare", "listop"], 2, "did you mean 'listops'"),
        (["prepare", "listops", "--protocol", "papr"], 2, "did you mean 'paper'"),
        (["prepare", "listops", "--workers", "0"], 2, "--workers"),
        (["prepare", "listops", "--workers", "two"], 2, "two"),
        (["prepare", "listops", "--gin", "listops.trian = 5"], 2, "did you mean 'train'"),
        (["prepare", "listops", "--gin", "listops.max_length = 2"], 2, "listops.max_length"),
        (["prepare", "listops", "--from", "nowhere"], 1, "--from nowhere: there is no such"),
        (["prepare", "retrieval"], 1, "new_aan_pairs"),
        (["prepare", "pathfinder", "--gin", "pathfinder.seed_distance = 9"], 2, "first paddles"),
        (["run", "--task", "listops", "--variant", "performr", "--protocol", "demo"], 2, "did you mean 'performer'"),
        (["run", "--task", "listpos", "--variant", "linear", "--protocol", "demo"], 2, "did you mean 'listops'"),
        (["run", "--task", "listops", "--variant", "linear", "--protocol", "dmeo"], 2, "did you mean 'demo'"),
        ([*RUN, "--seeds", "0,one"], 2, "0,one"),
        ([*RUN, "--seeds", "0,0"], 2, "different"),
        ([*RUN, "--seeds", "-1"], 2, "seeds"),
        ([*RUN, "--gin", "train.steps"], 2, "train.steps"),
        ([*RUN, "--gin", "encoder.heads = 3"], 2, "encoder.heads"),
        ([*RUN, "--import", "nowhere.py"], 1, "nowhere.py"),
        (RUN, 1, "lra prepare listops --protocol demo"),
        (["leaderboard", "build", "nowhere"], 1, "nowhere is no folder"),
        (["leaderboard", "submti"], 2, "did you mean 'submit'"),
        (["leaderboard", "submit", "c0ffee"], 2, "neither a file nor a run"),
        (["compare", "a"], 2, "B"),
        (["reproduce", "c0ffee"], 2, "neither a file nor a run recorded in lra-results"),
        (["leaderboard"], 2, "lra leaderboard build"),
        (["leaderboard", "--json"], 2, "no option is called '--json'"),
        (["leaderboard", "biuld"], 2, "did you mean 'build'"),
        (["leaderboard", "build", "--chekc"], 2, "did you mean '--check'"),
    ],
)
def test_a_mistake_is_one_line_that_offers_the_way_out(words, code, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    assert main(words) == code
    said = capsys.readouterr()
    assert says in said.err
    assert said.err.count("\n") == 1
    assert not said.out
    assert not list(tmp_path.rglob("*draft*"))


def test_debug_shows_the_traceback():
    done = lra("prepare", "listop", "--debug")
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_the_command_that_an_error_names_prepares_what_was_missing(tmp_path, monkeypatch, capsys):
    import shlex

    monkeypatch.setenv("LRA_HOME", str(tmp_path))
    assert main([*RUN, *bindings(*SMALL_DATA)]) == 1
    command = capsys.readouterr().err.strip().split("run: ")[1]
    assert main(shlex.split(command)[1:]) == 0
    assert main([*RUN, *bindings(*SMALL), "--results", str(tmp_path / "results")]) == 0


def test_tasks_and_variants_as_json(home, capsys):
    assert main(["tasks", "--json"]) == 0
    listed = {task["name"]: task for task in json.loads(capsys.readouterr().out)}
    assert list(listed)[:6] == ["listops", "text", "retrieval", "image", "pathfinder", "pathx"]
    listops = listed["listops"]
    assert all(not task["prepared"] for task in listed.values() if task is not listops)
    assert [item["examples"] for item in listops["prepared"]] == [{"train": 203, "validation": 53, "test": 101}]
    assert main(["variants", "--json"]) == 0
    names = {variant["name"] for variant in json.loads(capsys.readouterr().out)}
    assert {"transformer", "local", "linear", "performer", "linformer", "dilated"} <= names
    assert main(["tasks"]) == 0
    assert "203 / 53 / 101" in capsys.readouterr().out


def test_from_run_to_table(home, tmp_path, capsys):
    results = tmp_path / "results"
    words = ["run", "--task", "listops", "--variant", "linear,local", "--protocol", "demo", "--seeds", "3,4"]
    assert main([*words, *bindings(*SMALL), "--results", str(results)]) == 0
    assert main(["leaderboard", "build", "--results", str(results)]) == 0
    said = capsys.readouterr().out
    made = results / "leaderboard"
    page = (made / "leaderboard.md").read_text()
    for name in ("linear", "local"):
        assert name in said
        assert f"\n| {name}" in page
    assert "floor" in said
    assert f"open {(made / 'index.html').resolve()}" in said
    first = {path.name: path.read_bytes() for path in made.rglob("*.*")}
    assert {"leaderboard.csv", "leaderboard.tex", "index.html"} < first.keys()
    assert main(["leaderboard", "build", "--results", str(results)]) == 0
    assert first == {path.name: path.read_bytes() for path in made.rglob("*.*")}


MINE = """
from lra.models.attention import register_attention

@register_attention("{name}")
{body}
"""


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ("def f(q, k, v, mask):\n    return q\nraise ValueError('boom')", 1, "line 7: ValueError: boom"),
        ("def f(q, k, v, mask):\n    return undefined", 1, "line 6: NameError"),
        ("def f(q, k, v, mask):\n    return q[:, :1]", 1, "mine.py, line 4) returned float32 of shape"),
        ("def f(q, k, v, mask):\n    return q.astype('bfloat16')", 1, "mine.py, line 4) returned bfloat16 of shape"),
        ("def f(q, k):\n    return q", 2, "takes (q, k)"),
        ("def f(q, k, v, mask):\n    return q +", 1, "line 6: SyntaxError"),
    ],
)
def test_a_variant_that_is_wrong_is_named_with_its_line(body, code, says, home, tmp_path, capsys):
    from lra.models.attention import VARIANTS

    name = f"broken{abs(hash(body))}"
    file = tmp_path / "mine.py"
    file.write_text(MINE.format(name=name, body=body))
    words = ["run", "--import", str(file), "--task", "listops", "--variant", name, "--protocol", "demo"]
    assert main([*words, *bindings(*SMALL), "--results", str(tmp_path / "results")]) == code
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    VARIANTS.pop(name, None)


def test_a_taken_name_is_refused(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text(MINE.format(name="linear", body="def f(q, k, v, mask):\n    return q"))
    assert main(["variants", "--import", str(file)]) == 2
    assert "'linear' is registered already" in capsys.readouterr().err
