"""A run that is made again from its record alone comes to the same bits, and every difference is detected."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from conftest import SMALL, bindings, lra, resolved
from made_records import changed, make, raw, sha256

from lra import reproduction
from lra.cli import main
from lra.errors import UserError
from lra.leaderboard.predictions import pack, unpack
from lra.leaderboard.reading import read
from lra.leaderboard.record import Record, run_of, write
from lra.models.attention import VARIANTS, register_attention
from lra.reproduction import compare_with, plan_of_record, provide_variant
from lra.tasks.task import fields_of

MINE = """
open("was_executed", "w").close()
from lra.models.attention import register_attention

from .inner.helper import blend


@register_attention("mine_again", paper="mine")
def mine_again(q, k, v, mask, share: float = 0.5):
    return blend(q, v, share)
"""
HELPER = """
def blend(q, v, share):
    import weights
    return weights.ONE * share * q + v
"""
MODULES = {"mine.py": MINE, "inner/helper.py": HELPER, "weights.py": "ONE = 1.0\n"}
SIZES = "protocols/demo/listops/mine_again.gin"
FILES = MODULES | {SIZES: "mine_again.share = 0.25\n"}
SEEDS = (0, 1)


@pytest.fixture(scope="module")
def made(small_home, tmp_path_factory) -> Path:
    """Results with one run of a variant from outside, which is three files and one with its own sizes."""
    folder = tmp_path_factory.mktemp("made")
    for path, text in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    words = ["run", "--import", "mine.py", "--task", "listops", "--variant", "mine_again", "--protocol", "demo"]
    words += ["--seeds", ",".join(map(str, SEEDS)), *bindings(*SMALL)]
    done = lra(*words, cwd=folder, LRA_HOME=str(small_home))
    assert done.returncode == 0, done.stderr
    for path in FILES:
        (folder / path).unlink()
    (folder / "was_executed").unlink()
    return folder


@pytest.fixture(scope="module")
def record(made) -> Any:
    (path,) = (made / "lra-results" / "records").iterdir()
    return read(path)


def resealed(record: Any) -> Any:
    return changed(record, "run", run_of(record))


@pytest.mark.slow
def test_from_the_record_alone_to_the_same_bits(made, record, tmp_path):
    """The process and the folder are others, the file of the variant is gone, and nothing is prepared."""
    assert record.variant.sources == FILES
    assert "mine_again.share = 0.25\n" in record.config
    path = write(record, tmp_path / "elsewhere")
    before = path.read_bytes()
    here = dict(cwd=tmp_path, LRA_HOME=str(tmp_path / "home"))
    done = lra("reproduce", path, **here)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"executes {sum(len(text.splitlines()) for text in MODULES.values())} lines" in done.stderr
    assert "--trust" in done.stderr
    assert not (tmp_path / "was_executed").exists()
    assert not (tmp_path / "home").exists()
    done = lra("reproduce", path, "--trust", "--json", **here)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["outcome"], result["reasons"]) == ("to the bit", [])
    assert (tmp_path / "was_executed").exists()
    assert path.read_bytes() == before
    again = read(tmp_path / result["again"])
    assert Path(result["again"]).is_relative_to(Path("lra-results/reproduced") / record.run)
    for part in raw(record):
        if part != "measured":
            assert getattr(again, part) == getattr(record, part), part


def turned(record: Any) -> Any:
    """The record with its seeds in the other order, as older runs could have them."""
    content = raw(record)
    content["seeds"].reverse()
    for line in content["curve"]:
        line["loss"].reverse()
        line["accuracy"].reverse()
    return msgspec.convert(content, Record)


def with_answers(record: Any, wrong: int, seed: int = 0) -> Any:
    """The record with so many wrong answers of a seed made right (if negative, right ones wrong), and the score."""
    labels = unpack(record.task.test_labels, "l")
    answers = unpack(record.seeds[seed].predictions, "p").copy()
    places = np.flatnonzero(answers == labels) if wrong < 0 else np.flatnonzero(answers != labels)
    places = places[: abs(wrong)]
    answers[places] = (labels[places] + (wrong < 0)) % 10
    record = changed(record, f"seeds.{seed}.predictions", pack(answers))
    return changed(record, f"seeds.{seed}.test", {"loss": 1.25, "accuracy": float((answers == labels).mean())})


def test_what_differs_is_told_from_noise(record):
    assert compare_with(record, record).outcome == "to the bit"
    assert compare_with(turned(record), record).outcome == "to the bit"
    near = compare_with(record, with_answers(record, 1))
    assert near.outcome == "within noise"
    assert near.same
    assert near.reasons[0] == "seed 0: 1 of 101 predictions differ"
    far = compare_with(record, with_answers(record, 60))
    assert far.outcome == "not"
    assert not far.same
    assert "B is better than A" in far.reasons[-1]


def test_every_part_of_an_outcome_counts(record):
    loss = changed(record, "seeds.1.test.loss", record.seeds[1].test.loss + 1e-12)
    assert compare_with(record, loss).reasons[0] == "seed 1: other losses with the same predictions"
    assert compare_with(record, loss).outcome == "within noise"
    curve = changed(record, "curve.1.loss.0", 0.5)
    assert compare_with(record, curve).reasons[0] == f"the curves differ from step {record.curve[1].step} on"
    parameters = changed(record, "parameters", record.parameters + 1)
    assert compare_with(record, parameters).outcome == "not"
    step = changed(record, "seeds.0.step", 1)
    assert "at step 1" in compare_with(record, step).reasons[0]
    assert compare_with(record, step).outcome == "within noise"
    diverged = changed(record, "seeds.0", {"seed": 0, "status": "diverged", "step": 3, "validation": None, "test": None,
                                           "predictions": None, "by_level": None})  # fmt: skip
    assert compare_with(record, diverged).outcome == "not"
    assert compare_with(diverged, record).outcome == "not"
    config = changed(changed(loss, "config", record.config + "encoder.new = 1\n"), "config_sha256", "0" * 64)
    assert "encoder.new = 1" in " ".join(compare_with(record, config).reasons)


def test_a_record_of_schema_1_is_held_to_its_losses(record):
    before = record
    for place in range(len(SEEDS)):
        before = changed(before, f"seeds.{place}.predictions", None)
    assert compare_with(before, record).outcome == "to the bit"
    assert compare_with(before, with_answers(with_answers(record, 90), 90, seed=1)).outcome == "not"


@pytest.mark.parametrize(
    ("task", "variant", "protocol", "overrides"),
    [
        ("listops", "local", "demo", ["local.radius = 3", "train.steps = 7"]),
        ("listops", "performer", "paper", []),
        ("pathx256", "s5", "paper", ["pathx256.paddle_margins = (3, 4)"]),
        ("synthetic_retrieval", "bigbird", "demo", ["adamw.clip = None"]),
        ("image", "mega", "paper", ["adamw.learning_rate = @rsqrt()", "rsqrt.warmup = 10"]),
    ],
)
def test_the_configuration_is_the_whole_plan(record, task, variant, protocol, overrides):
    """Nothing comes from today's protocol: the record's own lines give the same plan."""
    plan = resolved(task, variant, protocol, [1, 3], overrides)
    task_info = {"name": task, "version": plan.task.version, "parameters": fields_of(plan.source), "data_sha256": "x"}
    content = raw(record)
    content["task"] |= task_info
    content["variant"] |= {"name": variant, "version": plan.variant.version, "source_sha256": None, "sources": None}
    content |= {"config": plan.config, "config_sha256": plan.config_sha256}
    content["seeds"] = [content["seeds"][0] | {"seed": seed} for seed in (1, 3)]
    content["protocol"] = {"name": protocol, "overrides": overrides}
    own = msgspec.convert(content, Record)
    again = plan_of_record(own)
    assert again.run_id("x") == plan.run_id("x") == run_of(own)
    assert (again.encoder, again.train, again.pair) == (plan.encoder, plan.train, plan.pair)
    assert (again.parameters, again.seeds, again.spec.protocol) == (plan.parameters, (1, 3), protocol)


@pytest.fixture
def own(record) -> Any:
    """A run of a variant of the project, and its results."""
    config = "".join(line for line in record.config.splitlines(True) if not line.startswith("mine_again."))
    variant = raw(record)["variant"] | {"name": "transformer", "version": 1, "sources": None, "source_sha256": None}
    return changed(changed(changed(record, "variant", variant), "config", config), "config_sha256", sha256(config))


def test_an_installed_variant_of_another_source_gives_way_to_the_records(record, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reproduction.extension, "load_installed", lambda: None)
    before = dict(VARIANTS)
    register_attention("mine_again")(lambda q, k, v, mask: v)
    with pytest.raises(UserError, match="--trust"):
        provide_variant(record, tmp_path, False)
    (tmp_path / f"source-{record.variant.source_sha256[:12]}").mkdir()
    (tmp_path / f"source-{record.variant.source_sha256[:12]}" / "weights.py").write_text("left by another")
    provide_variant(record, tmp_path, True)
    assert VARIANTS["mine_again"].sources == FILES
    VARIANTS.clear()
    VARIANTS.update(before)


@pytest.mark.parametrize(
    "line", ["import evil", "include 'evil.gin'", "train.steps = @evil.f()", "train.steps = %evil", "a/train.steps = 1"]
)
def test_only_plain_values_are_taken_from_a_record(own, tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("evil.py", "evil.gin"):
        Path(name).write_text("open('was_executed', 'w').close()\n" if name == "evil.py" else "import evil\n")
    with pytest.raises(UserError, match="plain"):
        plan_of_record(changed(own, "config", f"{line}\n" + own.config))
    assert not Path("was_executed").exists()


def test_what_a_record_needs_and_is_not_there_is_named(own, record, tmp_path, monkeypatch):
    monkeypatch.setattr(reproduction.extension, "load_installed", lambda: None)
    with pytest.raises(UserError, match=r"transformer in version 2, here it is version 1.* at commit c0ffee"):
        provide_variant(
            changed(changed(own, "variant.version", 2), "measured.git", {"commit": "c0ffee"}), tmp_path, True
        )
    with pytest.raises(UserError, match="no variant is called 'transforme'; did you mean 'transformer'"):
        provide_variant(changed(own, "variant.name", "transforme"), tmp_path, True)
    with pytest.raises(UserError, match="the record has not its source"):
        provide_variant(changed(record, "variant.sources", None), tmp_path, True)
    with pytest.raises(UserError, match=r"listops 0\.9\.0, here it is 1\.0\.0"):
        plan_of_record(changed(own, "task.version", "0.9.0"))
    with pytest.raises(UserError, match="no task is called 'listpos'"):
        plan_of_record(changed(own, "task.name", "listpos"))
    with pytest.raises(UserError, match=r"does not fit this lra .*no parameter of train is called 'stepz'"):
        plan_of_record(changed(own, "config", own.config.replace("train.steps", "train.stepz")))
    with pytest.raises(UserError, match=r"task\.parameters are not those"):
        plan_of_record(changed(own, "task.parameters.seed", 5))


def test_data_that_cannot_be_generated_is_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    plan = resolved("text", "local", "paper", [0])
    parts = {"task__name": "text", "task__version": plan.task.version, "task__parameters": fields_of(plan.source)}
    path = write(make("local", {0: 0.5}, config=plan.config, protocol__name="paper", **parts), tmp_path)
    assert main(["reproduce", str(path), "--results", str(tmp_path / "results")]) == 1
    said = capsys.readouterr().err
    assert "run: lra prepare text --gin 'text." in said
    assert "Traceback" not in said


def test_other_data_than_the_records_is_no_reproduction(own, home, tmp_path, capsys):
    other = changed(changed(own, "task.files", None), "task.test_labels", None)
    for place in range(len(SEEDS)):
        other = changed(other, f"seeds.{place}.predictions", None)
    path = write(resealed(changed(other, "task.data_sha256", "f" * 64)), tmp_path)
    assert main(["reproduce", str(path), "--results", str(tmp_path / "results")]) == 1
    assert "the record's listops is ffffffffffff, what is prepared here is " in capsys.readouterr().err


def test_a_record_is_never_replaced(made, record, capsys, monkeypatch):
    monkeypatch.chdir(made)
    assert main(["reproduce", record.run[:6], "--to", "lra-results", "--trust"]) == 2
    assert "is where the record is" in capsys.readouterr().err
    assert not os.path.exists("was_executed")


def test_a_failed_run_has_nothing_to_compare_with(tmp_path, capsys):
    path = write(make("local", {}, status="failed", error="x"), tmp_path)
    assert main(["reproduce", str(path), "--to", str(tmp_path / "to")]) == 1
    assert "came to nothing (failed)" in capsys.readouterr().err
