"""What LRA's table costs: docs/cost.json has all its cells, and its numbers are those of the code."""

import json
import sys
from pathlib import Path

import pytest

from lra.bench.compile import plan_at
from lra.models.attention import VARIANTS
from lra.parameter_budget import TASKS
from lra.plan import untraced
from lra.spec import RunSpec
from lra.sweeps.estimate import operations_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "docs"))
import cost

# in no benchmark yet; docs/variants.md says so
UNTIMED = {
    "b2s6", "based", "cosformer2", "deltanet", "deltaproduct", "differential", "gated_deltanet", "h_transformer_1d",
    "hgrn", "hydra", "kda", "lamamba", "lightconv", "mamba", "mamba3", "mlp_mixer", "mlstm", "nalaformer", "s4d",
    "sigmoid",
}  # fmt: skip
ROWS = {(row["variant"], row["task"]): row for row in json.loads(cost.FILE.read_bytes())}


def test_every_cell_of_the_table_is_there_once():
    assert len(json.loads(cost.FILE.read_bytes())) == len(ROWS)
    timed = {name for name, variant in VARIANTS.items() if variant.is_own} - UNTIMED
    assert {*ROWS} == {(name, task) for name in timed for task in TASKS}


@pytest.mark.parametrize("cell", [("fnet", "text"), ("transformer", "image"), ("linear", "retrieval")])
def test_the_operations_are_todays(cell):
    variant, task = cell
    plan = untraced(RunSpec(task, variant, "paper"))
    counted = 3 * 3 * plan.train.steps * operations_of(plan)  # three seeds; a step is three forward passes
    assert ROWS[cell]["operations"] == pytest.approx(counted, rel=1e-5), "run `.venv/bin/python docs/cost.py`"


def test_a_rate_is_that_of_the_nearest_length():
    seconds = {("cpu", "fnet", 1024): 2.0, ("cpu", "fnet", 4096): 4.0, ("cpu", "local", 2500): 1.0,
               ("hopper", "fnet", 2500): 1.0}  # fmt: skip
    assert cost.rate("cpu", "fnet", 2500, seconds) == 3 * operations_of(plan_at("cpu", 4096, "fnet", ())) / 4
    assert cost.rate("cpu", "fnet", 1, seconds) == 3 * operations_of(plan_at("cpu", 1024, "fnet", ())) / 2


def test_a_step_on_an_h100_takes_as_long_as_its_busier_half(monkeypatch, tmp_path):
    rows = [
        {"target": "hopper", "variant": "fnet", "length": length, "error": None, "operations": work, "bytes": moved}
        for length, work, moved in ((1024, 495e12, 3.35e10), (2048, 495e10, 3.35e12 * 7))
    ]
    docs, results = tmp_path / "docs", tmp_path / "leaderboard" / "results"
    docs.mkdir()
    results.mkdir(parents=True)
    (docs / "bench-compile.json").write_text(json.dumps({"rows": rows}))
    row = {"variant": "fnet", "direction": "training", "end": None, "length": 4096, "batch": 1, "steps_per_second": 4.0}
    (results / "bench-variants.json").write_text(json.dumps({"rows": [row, row | {"length": 512, "end": "slow"}]}))
    monkeypatch.setattr(cost, "DOCS", docs)
    assert cost.of_steps() == {("hopper", "fnet", 1024): 1, ("hopper", "fnet", 2048): 7, ("cpu", "fnet", 4096): 0.25}
