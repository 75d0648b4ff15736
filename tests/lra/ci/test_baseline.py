"""The file of a baseline: what is written is read again, and any other content gives a one-line error."""

import copy
import json

import gin
import pytest

from lra.ci import baseline
from lra.errors import UsageError, UserError
from lra.leaderboard.record import as_json

from .test_changes import THEN

GOOD = json.loads(json.dumps(as_json(THEN)))


def test_what_is_written_is_read_and_written_again_the_same(tmp_path):
    path = tmp_path / "lra-ci.json"
    baseline.write(THEN, path)
    assert baseline.read(path) == THEN
    text = path.read_text()
    baseline.write(baseline.read(path), path)
    assert path.read_text() == text
    assert "[0.515, 0.527, 0.507, 0.516]" in text, "one line for what is one thing"


def edited(*place, value):
    """A baseline with another value at one place in it."""
    content = copy.deepcopy(GOOD)
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot be read"),
        (json.dumps(GOOD)[:-40], "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[]", "schema version None"),
        (edited("schema", value=1), "schema version 1, this version of lra reads 2"),
        (edited("schema", value=True), "schema version True"),
        ('{"schema": 2}', "baseline"),
        (edited("workload", "extra", value=1), "baseline.workload: Object contains unknown field `extra`"),
        (edited("variants", "local", "step_time", value=[]), "step_time"),
        (edited("variants", value={}), "is empty"),
        (
            edited("variants", "local", "programs", value={"cpu": {"operations": 1.0}}),
            "baseline.variants.local.programs.cpu lacks 'bytes'",
        ),
        (edited("variants", "local", "step_time", value=[[0.5], []]), "step_time"),
        (edited("variants", "local", "step_time", value=[[-0.5]]), "step_time"),
        (edited("variants", "local", "training", value=[]), "other seeds"),
        (edited("variants", "local", "parameters", value={"a": "many"}), "parameters"),
        (edited("workload", "processes", value=10**9), "processes"),
        (edited("workload", "seeds", value=list(range(5000))), "seeds"),
        (edited("workload", "bindings", value=["import os"]), "'import os'"),
        (edited("workload", "step", value=["train.steps = @os.getpid()"]), "plain value"),
        (edited("workload", "training", value=["include 'other.gin'"]), "plain value"),
        (edited("workload", "bindings", value=["train.steps = 1\nimport os"]), "plain value"),
    ],
)
def test_anything_else_is_one_line_with_the_way_out(tmp_path, text, says):
    path = tmp_path / "lra-ci.json"
    path.write_text(text)
    with pytest.raises(UserError, match="lra ci baseline") as error:
        baseline.read(path)
    assert says in str(error.value)
    assert len(str(error.value)) < 600
    assert gin.config_str() == "", "nothing of it was executed"


def test_a_file_that_is_not_there_says_how_to_make_it(tmp_path):
    with pytest.raises(UserError, match="'lra ci baseline NAME' makes one"):
        baseline.read(tmp_path / "lra-ci.json")


def test_what_a_baseline_may_keep():
    kept = [
        "train.steps = 5",
        "local.radius=8",
        "encoder.pool = 'mean'",
        "attention.local.radius = 3",
        "a.b = [1, 2.5]",
    ]
    assert baseline.admit_bindings(kept) == tuple(kept)
    for binding in ("adamw.learning_rate = @rsqrt()", "train.steps", "import os", "a.b = %c", "x = 3"):
        with pytest.raises(UsageError, match="plain values"):
            baseline.admit_bindings([binding])
