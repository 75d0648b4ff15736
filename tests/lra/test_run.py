"""A run from the command line that is killed at random moments comes to the same bits, and nothing is lost."""

import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, bindings, lra, resolved

from lra import claims
from lra.errors import UserError
from lra.execution import execute
from lra.interrupt import Interrupted
from lra.tasks.prepared import load

RUN = ["run", "--task", "listops", "--protocol", "demo", "--seeds", "0,1"]


CALL = "import sys; from lra.cli import main; sys.exit(main())"
# None makes an import fail
WITHOUT_TENSORFLOW = (
    "import sys; sys.modules.update(dict.fromkeys(('tensorflow', 'seqio', 'tensorflow_datasets', 'tensorflow_text')));"
)


def command(results: Path, variant: str, *more: str) -> list[str]:
    return [*RUN, "--variant", variant, "--results", str(results), *bindings(*SMALL), *more]


def start(words: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", CALL, *words], stderr=subprocess.PIPE, text=True)


def outcome(results: Path) -> dict:
    """The record without its measurements: a function of the plan alone."""
    (path,) = (results / "records").glob("*.json")
    record = json.loads(path.read_text())
    del record["measured"]
    return record


def parameters(results: Path) -> dict[str, np.ndarray]:
    """Every array of the last checkpoint, read by Orbax without this project's code."""
    import orbax.checkpoint as ocp

    (folder,) = (results / "runs").glob("*/checkpoint/*[0-9]")
    return ocp.StandardCheckpointer().restore(folder / "state")


def steps_saved(results: Path) -> int:
    return max((int(path.name) for path in results.glob("runs/*/checkpoint/*") if path.name.isdigit()), default=0)


@pytest.fixture(scope="module", autouse=True)
def _optimised():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("XLA_FLAGS", raising=False)
        yield


@pytest.fixture(scope="module")
def undisturbed(small_home, tmp_path_factory):
    """The results of one performer run that nothing disturbed."""
    results = tmp_path_factory.mktemp("undisturbed")
    more = bindings("performer.redraw_every = 3")
    words = [sys.executable, "-c", WITHOUT_TENSORFLOW + CALL, *command(results, "performer", *more)]
    env = os.environ | {"LRA_HOME": str(small_home)}
    done = subprocess.run(words, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return results


@pytest.mark.slow
def test_killed_at_random_moments_it_comes_to_the_same_bits(undisturbed, home, tmp_path):
    dice, interrupted = random.Random(0), 0
    words = command(tmp_path, "performer", *bindings("performer.redraw_every = 3"), "--checkpoint-every", "0")
    for kill in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
        process, before, patience = start(words), steps_saved(tmp_path), time.monotonic() + 120
        while process.poll() is None and steps_saved(tmp_path) == before and time.monotonic() < patience:
            time.sleep(0.002)
        time.sleep(dice.uniform(0, 0.05))
        process.send_signal(kill)
        _, said = process.communicate()
        if process.returncode == 0:
            break
        interrupted += 1
        assert before < steps_saved(tmp_path) <= 20
        if kill != signal.SIGKILL:
            assert process.returncode == 130
            assert "stopping after this step; Ctrl-C again ends at once" in said
            assert "the same command goes on" in said
            assert "Traceback" not in said
    assert interrupted
    done = lra(*words)
    assert done.returncode == 0, done.stderr
    assert outcome(tmp_path) == outcome(undisturbed)
    ours, theirs = parameters(tmp_path), parameters(undisturbed)
    assert ours.keys() == theirs.keys()
    assert len(ours) > 20
    for name in ours:
        assert np.array_equal(ours[name], theirs[name]), name


def test_the_record_says_what_was_run_and_scores_every_example(undisturbed):
    record = outcome(undisturbed)
    assert record["status"] == "ok"
    assert record["task"]["examples"] == {"train": 203, "validation": 53, "test": 101}
    assert "performer.redraw_every = 3" in record["config"]
    assert "train.steps = 20" in record["config"]
    assert [seed["seed"] for seed in record["seeds"]] == [0, 1]
    for seed in record["seeds"]:
        right = seed["test"]["accuracy"] * 101
        assert right == pytest.approx(round(right))
    # embedding, projections, two norms, MLP, last norm, head: by hand for dim 16
    block = 4 * 16 * 16 + 2 * 2 * 16 + 2 * (16 * 16 + 16)
    assert record["parameters"] == 17 * 16 + block + 2 * 16 + (16 * 16 + 16) + (16 * 10 + 10)
    best = max(
        (line["accuracy"][0], -line["step"]) for line in record["curve"] if line["split"] == "validation"
    )  # the first of the best
    assert (record["seeds"][0]["validation"]["accuracy"], -record["seeds"][0]["step"]) == best
    steps = [line["step"] for line in record["curve"] if line["split"] == "train"]
    assert steps == [4, 8, 12, 16, 20]


def test_tensorboard_has_the_metrics(undisturbed):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (folder,) = undisturbed.glob("runs/*/tensorboard/seed1")
    events = accumulator.EventAccumulator(str(folder)).Reload()
    losses = [(event.step, event.value) for event in events.Scalars("train/loss")]
    lines = [line for line in outcome(undisturbed)["curve"] if line["split"] == "train"]
    expected = [(line["step"], pytest.approx(line["loss"][1])) for line in lines]
    assert losses == expected


@pytest.mark.slow
def test_a_run_with_a_record_is_not_run_again_unless_asked(undisturbed, home):
    words = command(undisturbed, "performer", *bindings("performer.redraw_every = 3"))
    (path,) = (undisturbed / "records").glob("*.json")
    before = path.read_bytes()
    done = lra(*words, "--json")
    assert "recorded before" in done.stderr
    assert path.read_bytes() == before
    assert json.loads(done.stdout) == [json.loads(before)]
    again = lra(*words, "--again", "--json")
    assert again.returncode == 0
    assert path.read_bytes() != before  # at another time
    record = json.loads(path.read_text())
    del record["measured"]
    assert record == {key: value for key, value in json.loads(before).items() if key != "measured"}


def test_training_needs_no_tensorflow(undisturbed):
    """The run was made where none of these can be imported."""
    assert outcome(undisturbed)["status"] == "ok"
    done = subprocess.run([sys.executable, "-c", f"{WITHOUT_TENSORFLOW}import seqio"], capture_output=True, check=False)
    assert done.returncode == 1


def test_a_seed_that_diverges_ends_alone_and_the_record_says_so(home, tmp_path):
    done = lra(*command(tmp_path, "linear", *bindings("cosine.base = 1e30", "adamw.clip = None")))
    assert done.returncode == 1
    assert done.stderr.endswith("\nlra: all seeds of linear diverged; the record says so\n")
    record = outcome(tmp_path)
    assert record["status"] == "diverged"
    assert {seed["status"] for seed in record["seeds"]} == {"diverged"}
    assert all(0 < seed["step"] < 20 and seed["test"] is None for seed in record["seeds"])
    table = lra("leaderboard", "build", "--results", tmp_path)
    assert "2 of 2 seeds diverged" in table.stdout


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_run_goes_on_afterwards(home, tmp_path):
    words = command(tmp_path, "linear", "--checkpoint-every", "0")

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    done = subprocess.run(
        [sys.executable, "-c", CALL, *words], capture_output=True, text=True, preexec_fn=small_disk, check=False
    )
    assert done.returncode == 1
    assert re.fullmatch(r"lra: cannot write .*\n", done.stderr.splitlines(keepends=True)[-1]), done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("records/*"))
    assert lra(*words).returncode == 0


def test_a_second_process_does_not_train_the_same_run(home, tmp_path):
    plan = resolved("listops", "linear", "demo", (0,), SMALL)
    data = load(plan.task, plan.source)
    with claims.held(claims.take(tmp_path, plan.run_id(data.data_sha256))):
        second = lra(*command(tmp_path, "linear"), "--seeds", "0", XLA_FLAGS=os.environ.get("XLA_FLAGS", ""))
    assert second.returncode == 1
    assert f"process {os.getpid()}" in second.stderr
    assert not list(tmp_path.glob("records/*"))


def test_a_damaged_checkpoint_names_the_way_out(home, tmp_path):
    plan, stop = resolved("listops", "linear", "demo", (0,), SMALL), threading.Event()
    data = load(plan.task, plan.source)
    stop.set()
    with pytest.raises(Interrupted):
        execute(plan, data, tmp_path, stop=stop)
    (damaged,) = tmp_path.glob("runs/*/checkpoint/*/state/manifest.ocdbt")
    damaged.write_bytes(b"nonsense")
    with pytest.raises(UserError, match="begin the run anew"):
        execute(plan, data, tmp_path)
