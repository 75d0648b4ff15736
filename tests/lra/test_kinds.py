"""Runs on every kind of task: pairs, images, and one without a validation split."""

import json

import pytest
from conftest import bindings

from lra.cli import main
from lra.leaderboard.reading import read
from lra.leaderboard.record import as_json

TINY = [
    "encoder.layers = 1", "encoder.dim = 8", "encoder.qkv_dim = 8", "encoder.heads = 2", "encoder.mlp_dim = 8",
    "train.steps = 4", "train.batch_size = 4", "train.log_every = 2", "train.eval_every = 2", "cosine.warmup = 2",
]  # fmt: skip


def run(name: str, task: str, data: list[str], tmp_path, capsys, *more: str):
    """Prepares and runs the stand-in, and returns the record and what was said."""
    options = bindings(*[f"{name}.{line}" for line in data])
    assert main(["prepare", task, "--protocol", "demo", *options]) == 0
    words = ["run", "--task", task, "--protocol", "demo", "--variant", "linear", "--results", str(tmp_path / "results")]
    assert main([*words, *options, *bindings(*TINY, *more)]) == 0
    (path,) = (tmp_path / "results" / "records").glob("*.json")
    return read(path), capsys.readouterr()


@pytest.fixture(autouse=True)
def empty_home(tmp_path, monkeypatch):
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("task", ["retrieval", "image"])
def test_a_stand_in_is_named_as_such_everywhere(task, tmp_path, capsys):
    name = f"synthetic_{task}"
    record, said = run(name, task, ["train = 24", "validation = 10", "test = 14"], tmp_path, capsys)
    assert f"does not run on {task} but on {name}, a synthetic stand-in" in said.err
    assert (record.task.name, record.task.stands_in_for) == (name, task)
    assert as_json(record.task.examples) == {"train": 24, "validation": 10, "test": 14}
    (seed,) = record.seeds
    assert (round(14 * seed.test.accuracy, 6) % 1, round(10 * seed.validation.accuracy, 6) % 1) == (0, 0)
    assert main(["leaderboard", "build", "--results", str(tmp_path / "results")]) == 0
    page = (tmp_path / "results" / "leaderboard" / "leaderboard.md").read_text()
    assert f"## {name} 1.0.0" in page
    assert f"## {task} " not in page


def test_without_a_validation_split_the_last_step_is_scored(tmp_path, capsys):
    data = ["train = 24", "validation = 0", "test = 14"]
    record, _ = run("synthetic_text", "text", data, tmp_path, capsys, "train.select = 'last'")
    (seed,) = record.seeds
    assert seed.validation is None
    assert seed.step == 4
    assert 0 <= seed.test.accuracy <= 1
    assert record.task.floor.validation is None
    assert {line.split for line in record.curve} == {"train"}
    (folder,) = (tmp_path / "home" / "tasks").glob("synthetic_text-*")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["examples"]["validation"] == 0
    assert manifest["also_in_train"]["validation"] == 0
