"""The example in PyTorch runs as the page says, and what it writes can enter."""

import runpy
import sys
from pathlib import Path

import pytest
from conftest import SMALL_DATA, bindings

import lra
from lra.cli import main
from lra.leaderboard import external

DOCS = Path(__file__).parents[1] / "docs"


def test_the_answers_of_a_pytorch_model_enter(tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    monkeypatch.setenv("LRA_HOME", str(tmp_path))
    lra.prepare("listops", "demo", SMALL_DATA)
    answers, options = str(tmp_path / "answers.npz"), bindings(*SMALL_DATA)
    words = ["listops", "demo", answers, "--steps", "30", *options]
    monkeypatch.setattr(sys, "argv", ["pytorch_example.py", *words])
    runpy.run_path(str(DOCS / "pytorch_example.py"), run_name="__main__")
    about = ["--about", str(DOCS / "pytorch_example.toml"), "--results", str(tmp_path / "results")]
    task = ["--task", "listops", "--protocol", "demo", *options]
    assert main(["leaderboard", "enter", *task, "--predictions", answers, *about]) == 0
    (result,) = external.find([tmp_path / "results" / "records"], {})[0]
    assert [seed.seed for seed in result.seeds] == [0, 1, 2]
    said = capsys.readouterr().out
    assert f"{result.about.name} on listops" in said
