"""`lra ci baseline` and `lra ci run` as a script calls them."""

import json
import os
import xml.etree.ElementTree as ET

import pytest
from msgspec.structs import replace

from lra import extension
from lra.ci import baseline, measure
from lra.ci.quantities import QUANTITIES
from lra.cli import main

from .test_regressions import SMALL


@pytest.fixture
def made(tmp_path, monkeypatch, registered):
    """A folder with a baseline of the planted variants, made by the command with a small workload."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    bindings, kept = SMALL.bindings, replace(SMALL, bindings=())
    monkeypatch.setattr(baseline, "WORKLOAD", kept)
    # what takes long has its own tests
    monkeypatch.setattr(measure, "time", lambda work, names, advance: {name: [0.5, 0.6] for name in names})
    monkeypatch.setitem(
        QUANTITIES, "checks", lambda *_: {"shape": ("holds", ""), "reach": ("fails", "a token too far")}
    )
    scores = tuple(baseline.Trained(seed=seed, accuracy=0.4, loss=1.5) for seed in SMALL.seeds)
    monkeypatch.setitem(QUANTITIES, "training", lambda *_: scores)
    monkeypatch.setattr(extension, "load_all", lambda paths: None)  # they are there
    words = [word for binding in bindings for word in ("--gin", binding)]
    assert main(["ci", "baseline", "gated", "--workers", "1", *words]) == 0
    return tmp_path / "lra-ci.json"


@pytest.mark.slow
def test_a_baseline_and_runs_against_it(made, capsys):
    committed = baseline.read(made)
    assert list(committed.variants) == ["gated"]
    assert committed.workload.bindings == SMALL.bindings
    assert len(committed.variants["gated"].step_time) == 2

    # elsewhere: time is left out, all else holds
    baseline.write(replace(committed, hardware={"cpu": "abacus"}), made)
    capsys.readouterr()
    assert main(["ci", "run", "--workers", "1", "--junit", "out/junit.xml", "--markdown", "out/summary.md"]) == 0
    printed = capsys.readouterr().out
    assert "cpu abacus" in printed
    assert "the same bits, 6 seeds" in printed
    assert ET.parse("out/junit.xml").getroot()[0].get("failures") == "0"
    with open("out/summary.md") as file:
        assert file.readline() == "## lra ci: nothing got worse\n"

    # with a regression: exit code 1, and the line on standard error names it
    words = ["--workers", "1", "--gin", "encoder.layers = 1", "--json", "--junit", "out/junit.xml"]
    assert main(["ci", "run", "gated", *words]) == 1
    done = capsys.readouterr()
    changes = {change["quantity"]: change for change in json.loads(done.out)["changes"]}
    assert changes["parameters: listops, demo"]["outcome"] == "worse"
    error = done.err.splitlines()[-1]  # those before it, on a slow machine, are of the progress
    assert error.startswith("lra: gated parameters")
    assert "gated parameters" in done.err
    assert int(ET.parse("out/junit.xml").getroot()[0].get("failures")) >= 7


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["ci"], 2, "lra ci baseline or run"),
        (["ci", "rnu"], 2, "did you mean 'run'"),
        (["ci", "baseline"], 2, "name the variants"),
        (["ci", "run"], 1, "'lra ci baseline NAME' makes one"),
        (["ci", "baseline", "lcoal"], 2, "did you mean 'local'"),
        (["ci", "baseline", "local", "--workers", "0"], 2, "--workers"),
        (["ci", "baseline", "local", "--gin", "train.stepz = 5"], 2, "did you mean 'steps'"),
        (["ci", "baseline", "local", "--gin", "adamw.learning_rate = @rsqrt()"], 2, "plain values"),
        (["ci", "run", "--file", "good.json", "linear"], 2, "no variant of good.json is called 'linear'"),
        (["ci", "run", "--file", "good.json"], 2, "--import"),
        (["ci", "run", "--file", "half.json"], 1, "cannot be read"),
        (["ci", "baseline", "local", "--file", "half.json"], 1, "move it away"),
        (["ci", "baseline", "local", "--file", "good.json"], 2, "good.json has mine too"),
    ],
)
def test_a_wrong_call_is_one_line(words, code, says, tmp_path, monkeypatch, capsys):
    from .test_changes import OLD, THEN

    monkeypatch.chdir(tmp_path)
    baseline.write(replace(THEN, variants={"mine": OLD}), tmp_path / "good.json")
    (tmp_path / "half.json").write_text('{"schema": 2, ')
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    assert main(words) == code
    done = capsys.readouterr()
    assert done.err.count("\n") == 1
    assert says in done.err
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before
