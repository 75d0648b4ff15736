"""`lra kernels` shows what is proven, how fast, and why something was left out."""

import json

import pytest
from test_choice import verdicts

from lra.cli import main
from lra.proof import choice
from lra.proof.verdict import Proof

TIMES = dict(xla=(4e-3, 4e-3), plain=(2e-3, 2e-3), cudnn="the gradient of k is off by 1 %, 0.6 % are allowed")
PROVE = ["kernels", "--prove", "--protocol", "demo", "--task", "listops", "--variant", "local,transformer,s5"]


@pytest.fixture
def proving(tmp_path, monkeypatch):
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    tried = []

    def supervise(trials, platform, found, stop, limit):
        for number, (call, names) in enumerate(trials):
            tried.append((call.op, tuple(names)))
            found(number, Proof(call.words, verdicts(**TIMES)))
        return "the 60 s for it were over"

    monkeypatch.setattr(choice, "supervise", supervise)
    return tried


def test_nothing_is_proven_at_first(proving, capsys):
    assert main(["kernels"]) == 0
    assert capsys.readouterr().out.startswith("nothing is proven on this machine; a run proves what it calls")


def test_what_was_proven_is_listed_with_times_and_reasons(proving, capsys, tmp_path):
    assert main([*PROVE, "--results", str(tmp_path)]) == 0
    assert proving == [("softmax attention", ("plain",))] * 2, "the recurrence of s5 has no other one for a CPU"
    out = capsys.readouterr().out
    assert "proving kernels of 2 ops on this device" in out
    assert "not proven: the 60 s for it were over" in out
    lines = [line.split() for line in out.splitlines()]
    assert sum(line[-3:] == ["plain", "2", "2.00"] for line in lines) == 2, "twice as fast as XLA"
    assert sum(line[-3:] == ["xla", "4", "1.00"] for line in lines) == 2
    assert out.count("the gradient of k is off by 1 %, 0.6 % are allowed") >= 2
    assert len(json.loads((tmp_path / "kernels.json").read_text())["proofs"]) == 2
    assert main(["kernels", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["machine"]["platform"] == "cpu"
    assert [proof["verdicts"][1]["implementation"] for proof in listed["proofs"]] == ["plain", "plain"]
    assert main(PROVE) == 0
    assert len(proving) == 2, "the second call pays nothing"


def test_a_wrong_name_is_one_line(proving, capsys):
    assert main(["kernels", "--prove", "--task", "listop", "--protocol", "demo"]) == 2
    assert "did you mean 'listops'?" in capsys.readouterr().err
