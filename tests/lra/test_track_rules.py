"""The project's tracks have the numbers that LRA published, and reading the rules imports nothing heavy."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import resolved
from made_records import make

from lra.errors import UsageError
from lra.leaderboard.record import SELECTIONS
from lra.leaderboard.tracks import breaches
from lra.tracks import tracks

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = {  # by LRA's code, see docs/protocols.md
    "listops": 8_948_746, "text": 3_486_722, "retrieval": 1_087_618, "image": 248_458, "pathfinder": 26_530,
}  # fmt: skip


def test_tables_of_protocol_paper_come_first():
    assert [*tracks()] == ["paper", "demo", "probe"]


@pytest.mark.parametrize("task", PUBLISHED)
def test_the_budget_is_the_published_transformers(task):
    assert tracks()["paper"].parameters_of_reference(task) == PUBLISHED[task]


def test_a_task_that_there_is_not_has_no_budget():
    with pytest.raises(UsageError, match="no task is called 'listpos'"):
        tracks()["paper"].parameters_of_reference("listpos")


def breaches_of(protocol, variant, *overrides):
    """The rules that a run breaks. The configuration is the plan's own."""
    plan, track = resolved("listops", variant, protocol, [0], overrides), tracks()[protocol]
    assert plan.train.select == track.select
    steps = plan.train.steps
    curve = [{"step": steps, "split": "validation", "loss": [1.0], "accuracy": [0.5]}]
    record = make(
        variant, {0: 0.5}, config=plan.config, protocol__name=protocol, selection=SELECTIONS[track.select],
        parameters=plan.parameters, seeds__0__step=steps, curve=curve, protocol__overrides=plan.spec.overrides,
    )  # fmt: skip
    return breaches(record, track)


@pytest.mark.parametrize(("protocol", "variant"), [("demo", "local"), ("paper", "s5"), ("paper", "transformer")])
def test_a_run_as_the_protocol_has_it_breaks_no_rule(protocol, variant):
    """Every binding of a protocol is one that the rules know."""
    assert breaches_of(protocol, variant) == ()


def test_what_only_saves_memory_breaks_no_rule():
    assert breaches_of("paper", "local", "train.microbatch = 8", "encoder.remat = True", "local.radius = 3") == ()
    for other in ("train.buckets = 64", "train.batch_size = 16", "train.compute_type = 'bfloat16'"):
        assert [reason for reason in breaches_of("paper", "local", other) if other in reason], other


def test_the_projects_tables_are_built_without_jax(tmp_path):
    """None of the project's records is of a protocol with a budget of parameters."""
    script = (
        "import sys, lra.tracks; lra.tracks.tracks(); assert 'jax' not in sys.modules\n"
        "from lra.cli import main\n"
        f"assert main(['leaderboard', 'build', {str(ROOT / 'leaderboard' / 'results')!r}, '--out', 'out']) == 0\n"
        "assert 'jax' not in sys.modules and 'flax' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
