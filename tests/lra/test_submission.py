"""Submissions: every reason against a record is found and named, and nothing in a file is executed."""

import json
import os
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import lra, resolved
from made_records import GIN_TRICKS, LABELS_OF_TEST, changed, make, old, raw, seed_result

from lra.cli import main
from lra.commands import submissions
from lra.files import sha256_texts
from lra.leaderboard.predictions import labels_file_sha256
from lra.leaderboard.reading import read
from lra.leaderboard.record import LABELS, SCHEMA, Record, file_name, write
from lra.submission import Review, registers, reviews
from lra.tasks.task import fields_of, folder_name

OUTSIDE = '@register_attention("mine")\ndef mine(q, k, v, mask, radius=3):\n    return q\n'
FLOOR = Counter(LABELS_OF_TEST.tolist())[0] / len(LABELS_OF_TEST)


@cache
def planned(variant: str, *overrides: str) -> Any:
    plan = resolved("listops", variant, "demo", [0], overrides)
    return plan.config, plan.parameters, fields_of(plan.source), plan.tree_sha256


def fair(variant: str = "local", seeds: tuple[int, ...] = (0,), overrides: tuple[str, ...] = (), **changes: Any) -> Any:
    """A record that may enter but for the given changes. Its hashes follow from the rest."""
    config, parameters, data, tree = planned(variant, *overrides)
    values = {
        "config": config, "parameters": parameters, "task__parameters": data, "task__floor__test": FLOOR,
        "protocol__overrides": [*overrides], "parameter_tree_sha256": tree,
    }  # fmt: skip
    return make(variant, dict.fromkeys(seeds, 0.5), **(values | changes))


def outside(**changes: Any) -> Any:
    """A record of a variant from outside, with its source."""
    config = planned("transformer")[0] + "mine.radius = 3\n"
    return fair("transformer", **({"variant__name": "mine", "config": config} | source(OUTSIDE) | changes))


def source(text: str | None) -> dict[str, Any]:
    from lra.files import sha256_text

    if text is None:
        return {"variant__sources": None, "variant__source_sha256": None}
    return {"variant__sources": {"mine.py": text}, "variant__source_sha256": sha256_text(text)}


@pytest.fixture
def published(tmp_path, monkeypatch) -> Path:
    """A folder with a record of the same data; nothing is prepared."""
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    folder = tmp_path / "published"
    write(fair("transformer", (0, 1, 2)), folder)
    monkeypatch.setattr(submissions, "shipped", lambda: folder)
    return folder


def reviewed(published: Path, *records: Any) -> list[Review]:
    files = [published.parent / f"{place}.json" for place in range(len(records))]
    for file, record in zip(files, records):
        file.write_text(json.dumps(raw(record) if isinstance(record, Record) else record))
    return reviews(files, published)


FAIR = {
    "plain": lambda: fair(),
    "several seeds": lambda: fair("performer", (7, 8)),
    "own binding": lambda: fair(overrides=("local.radius = 5",)),
    "outside": lambda: outside(),
    "outside without parameters": lambda: outside(config=planned("transformer")[0]),
    "diverged": lambda: fair(status="diverged", seeds__0=seed_result(0, None), curve=[]),
}


@pytest.mark.parametrize("name", FAIR)
def test_what_is_as_the_protocol_has_it_may_enter(published, name):
    (review,) = reviewed(published, FAIR[name]())
    assert review.reasons == ()
    assert any("comes from outside" in note for note in review.notes) == name.startswith("outside")


CHECKED = {
    "lra": "0.0.1",
    "holds": ["shape", "order"],
    "fails": {},
    "excepted": {"reach": "the paper's"},
    "not_run": {},
}
LEAKS = {"padding content": "it leaks", "causality": "it looks ahead"}
DEAD = {"status": "diverged", "seeds__0": seed_result(0, None), "curve": []}
NOTED = [
    (lambda: fair(), ["local is the project's own variant, which its tests hold to every check"]),
    (lambda: outside(), ["which checks it holds is not recorded; 'lra leaderboard submit'"]),
    (lambda: outside(variant__checks=CHECKED), ["of 3 checks 2 hold, 1 excepted, as submitted (lra 0.0.1)"]),
    (lambda: outside(variant__checks=CHECKED | {"fails": LEAKS}),
     ["of 5 checks 2 hold, 2 fail, 1 excepted", "not ranked, since it fails padding content (it leaks); causality ("]),
    (lambda: fair(**DEAD), ["its only seed diverged: its row has no accuracy", "counts as the floor"]),
    (lambda: fair(seeds=(0, 1), status="diverged", seeds__0=seed_result(0, None), seeds__1=seed_result(1, None),
                  curve=[]), ["all 2 seeds diverged: its row has no accuracy and stands below"]),
    (lambda: fair(seeds=(0, 1), seeds__1=seed_result(1, None), curve__1__accuracy=[0.5, None]),
     ["1 of 2 seeds diverged: in averages and ranks they count as the floor"]),
    (lambda: fair(seeds__0=seed_result(0, 0.1)), ["not better than the floor by more than luck"]),
]  # fmt: skip


@pytest.mark.parametrize(("record", "says"), NOTED, ids=[str(place) for place in range(len(NOTED))])
def test_what_the_tables_will_make_of_an_entry_is_said(published, record, says):
    (review,) = reviewed(published, record())
    assert review.reasons == ()
    assert all(any(words in note for note in review.notes) for words in says), review.notes
    for words in ("diverged", "than the floor", "fail"):
        assert any(words in note for note in review.notes) == any(words in line for line in says), words


@pytest.mark.parametrize(
    ("checks", "says"),
    [
        (CHECKED | {"fails": {"shape": "none"}}, "variant.checks has two results of one check"),
        (CHECKED, "it has variant.checks, and its variant is not from outside"),
    ],
)
def test_results_of_checks_that_cannot_be_are_refused(published, checks, says):
    record = fair(variant__checks=checks) if "outside" in says else outside(variant__checks=checks)
    assert reviewed(published, record)[0].reasons == (says,)


@pytest.mark.parametrize("sizes", ["encoder.qkv_dim = 256\n", "encoder.qkv_dim = 1024\n", "mine.radius = 3\n"])
def test_a_variant_from_outside_may_be_narrower_as_its_own_file_says(published, sizes):
    plan = resolved("listops", "transformer", "paper", [0], ["encoder.qkv_dim = 256"])
    sources = {"mine.py": OUTSIDE, "protocols/paper/listops/mine.gin": sizes}
    of_variant = {"variant__sources": sources, "variant__source_sha256": sha256_texts(sources)}
    record = outside(protocol__name="paper", config=f"{plan.config}mine.radius = 3\n", **of_variant)
    (review,) = reviewed(published, record)
    said = "encoder.qkv_dim is 256, protocol paper has 512" in review.reasons
    assert said == (sizes != "encoder.qkv_dim = 256\n")
    assert len([reason for reason in review.reasons if "encoder." in reason]) == 2 * said  # the rule says so too


def test_records_of_before_schema_3_may_still_enter(published):
    """Their configuration does not name the optimiser; the configuration of a plan does."""
    line = "train.optimizer = @adamw()\n"
    config = planned("local")[0].replace(line, "")

    (review,) = reviewed(published, old(fair(config=config), 2))
    assert review.reasons == ()
    (review,) = reviewed(published, old(fair(config=config.replace("0.003", "3e-3")), 2))
    assert "is not written as lra writes it" in review.reasons[0]
    (review,) = reviewed(published, fair(config=config))  # one of schema 3 has to name it
    assert "train.optimizer is not set, protocol demo has @adamw()" in review.reasons[0]


def edited(old: str, new: str) -> Any:
    """The record with another line in its configuration."""
    config = planned("local")[0]
    assert old in config
    return fair(config=config.replace(old, new))


NEWER_DATA = {"test.inputs.npy": "e" * 64, LABELS: labels_file_sha256(LABELS_OF_TEST)}
TAMPERED = {
    "no such task": (lambda: fair(task__name="listpos"), "there is no task 'listpos'"),
    "unlearnt": (lambda: fair(task__unlearnt=1.0), "task.unlearnt and task.stands_in_for are not those of listops"),
    "stand-in": (lambda: fair(task__stands_in_for="text"), "task.unlearnt and task.stands_in_for are not those"),
    "old examples": (lambda: fair(task__version="0.9.0"), "listops 0.9.0, whose version is 1.0.0"),
    "floor": (lambda: fair(task__floor__test=0.5), "the floor 0.5 is not the share"),
    "easier data": (lambda: fair(task__parameters={"max_depth": 1}), "task.parameters are not those"),
    "other data": (lambda: fair(task__files=NEWER_DATA), "is not known here, only "),
    "parameters": (lambda: fair(parameters=77_257), "it has 77,258 parameters, the record says 77,257"),
    "other tree": (lambda: fair(parameter_tree_sha256="0" * 64), "with other names, shapes or types"),
    "more steps": (lambda: edited("steps = 240", "steps = 999"), "train.steps is 999, protocol demo has 240"),
    "line less": (lambda: edited("adamw.clip = 1.0\n", ""), "adamw.clip is not set, protocol demo has 1.0"),
    "line more": (lambda: edited("adamw.clip", "x.y = 9\nadamw.clip"), "x.y is 9, protocol demo has it not set"),
    "own line": (lambda: edited("radius = 8", "radius = 48"), "local.radius is 48, protocol demo has 8"),
    "other notation": (lambda: edited("0.003", "3e-3"), "is not written as lra writes it"),
    "protocol": (lambda: fair(protocol__name="mine"), "no protocol is called 'mine'"),
    "changed protocol": (
        lambda: fair(protocol__overrides=["train.steps = 9"]),
        "say train.steps = 9, its configuration 240",
    ),
    "old variant": (lambda: fair(variant__version=9), "it ran local in version 9, which is 1 now"),
    "no such variant": (lambda: fair(variant__name="lokal"), "no variant 'lokal', and it comes without its source"),
    "taken name": (lambda: fair(**source(OUTSIDE)), "'local' is the name of one of the project's own"),
    "other source": (lambda: outside(variant__name="yours"), "its source registers no variant 'yours'"),
    "no source": (lambda: outside(**source("x = (")), "its source registers no variant 'mine'"),
    "long source": (lambda: outside(**source(OUTSIDE + "#" * (1 << 20))), "its source has more than"),
    "bad encoder": (lambda: outside(config=planned("local")[0].replace("dim = 64", "dim = 96")), "encoder.dim is 96"),
    "failed": (lambda: fair(seeds=(), status="failed", error="x"), "a run that came to nothing (failed)"),
    "schema 1": (lambda: old(fair()), "it has no predictions and labels"),
    "seed": (lambda: fair(seeds=(1 << 32,)), "seed 4294967296 is not from 0"),
    "unordered": (
        lambda: fair("performer", protocol__overrides=["performer.features = 32", "performer.epsilon = 1e-6"]),
        "not sorted",
    ),
    "score": (lambda: changed(fair(), "seeds.0.test.accuracy", 0.9), "test accuracy of seed 0"),
    "newer": (lambda: changed(raw(fair()), "schema", SCHEMA + 1), "take a newer lra"),
}


@pytest.mark.parametrize(("record", "reason"), TAMPERED.values(), ids=TAMPERED)
def test_what_is_not_may_not_enter(published, record, reason):
    (review,) = reviewed(published, record())
    assert any(reason in line for line in review.reasons), review.reasons
    assert all("\n" not in line for line in review.reasons)


def test_all_reasons_are_named(published):
    config = planned("local")[0].replace("= 240", "= 999")
    record = fair(parameters=5, task__floor__test=0.5, selection="last step", config=config)
    (review,) = reviewed(published, record)
    for reason in ("5", "the floor", "scores by last step", "train.steps is 999"):
        assert any(reason in line for line in review.reasons), reason
    torn = changed(changed(fair(seeds=(0, 1)), "seeds.0.test.accuracy", 0.9), "seeds.1.test.accuracy", 0.8)
    assert len(reviewed(published, torn)[0].reasons) == 2


def test_data_is_known_by_a_published_record_by_what_is_prepared_or_by_the_task_itself(published, tmp_path, home):
    (record,) = published.glob("*.json")
    record.unlink()
    write(fair("transformer", (5,), task__parameters={"max_depth": 1}), published)
    (review,) = reviewed(published, fair())
    assert "none with these parameters is" in review.reasons[0]
    assert "lra prepare listops --protocol demo" in review.reasons[0]
    # a record that may not enter makes no data known, nor does one that is submitted beside it
    assert all(review.reasons for review in reviewed(published, fair(seeds=(1,)), fair()))
    from lra.submission import known_data
    from lra.tasks import TASKS

    paper = resolved("listops", "local", "paper")
    assert known_data(paper.task, paper.source, {}) == {TASKS["listops"].data_sha256}
    from conftest import SMALL_DATA

    small = resolved("listops", "local", "demo", overrides=SMALL_DATA)
    (manifest,) = (home / "tasks").glob("*/manifest.json")
    assert known_data(small.task, small.source, {}) == {json.loads(manifest.read_text())["data_sha256"]}


def test_what_is_wrong_with_the_home_of_the_reviewer_is_no_reason_against_a_record(published, tmp_path, monkeypatch):
    assert not reviewed(published, fair())[0].reasons
    plan = resolved("listops", "local", "demo")
    folder = tmp_path / "home" / "tasks" / folder_name(plan.task, plan.source)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{")
    assert not reviewed(published, fair())[0].reasons
    monkeypatch.delenv("LRA_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert not reviewed(published, fair())[0].reasons


# --- Doubles ---------------------------------------------------------------------------------------------------


def test_what_is_there_already_may_not_enter_again(published):
    first, second = reviewed(published, fair("transformer", (0, 1, 2)), fair("transformer", (2, 3)))
    assert "the same run is there already" in first.reasons[0]
    assert "seed 2 of the same configuration is there already" in second.reasons[0]
    fresh = reviewed(published, fair("transformer", (3, 4)), fair("transformer", (0,), ("encoder.dim = 32",)))
    assert fresh[0].reasons == ()
    assert not any("there already" in reason for reason in fresh[1].reasons)  # another configuration


def test_an_old_and_a_new_record_of_one_seed_are_doubles(published):
    """The names of the runs differ, since the optimiser is in the configuration since schema 3."""
    before = planned("local")[0].replace("train.optimizer = @adamw()\n", "")
    first, second = reviewed(published, old(fair("local", (5, 6), config=before), 2), fair("local", (4, 5)))
    assert first.reasons == ()
    assert any("seed 5 of the same configuration is there already" in reason for reason in second.reasons)


def test_of_two_files_with_one_run_the_first_may_enter(published):
    first, second = reviewed(published, fair(), fair())
    assert first.reasons == ()
    assert str(first.file) in second.reasons[0]
    refused, third = reviewed(published, fair(parameters=1), fair())
    assert refused.reasons
    assert third.reasons == ()


def test_a_published_record_is_no_double_of_itself(published):
    write(fair(), published)
    assert [review.reasons for review in reviews(sorted(published.glob("*.json")), published)] == [(), ()]


# --- A record is data ------------------------------------------------------------------------------------------

TRACE = "open('trace', 'w').close()\n"


def test_nothing_in_a_file_is_executed(published, tmp_path):
    """The command runs as a user calls it, in a place where every trick would work if it were executed."""
    (tmp_path / "evil.py").write_text(TRACE + "import gin\n@gin.configurable\ndef f():\n    " + TRACE)
    (tmp_path / "evil.gin").write_text("import evil\n")
    config = planned("local")[0]
    records = [outside(**source(OUTSIDE + TRACE + "import evil\n"))]
    for place, trick in enumerate(GIN_TRICKS):
        records.append(fair(config=f"{trick}\n{config}") if place % 2 else outside(config=f"{config}{trick}\n"))
        own = trick.startswith("local.") or place % 2
        records.append(fair(protocol__overrides=[trick if own else f"local.radius = {trick}"]))
    files = [tmp_path / f"{place}.json" for place in range(len(records))]
    for file, record in zip(files, records):
        file.write_text(json.dumps(raw(record)))
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    here = dict(cwd=tmp_path, PYTHONPATH=path, LRA_HOME=str(tmp_path / "home"))
    done = lra("leaderboard", "validate", "--json", *files, **here)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    verdicts = json.loads(done.stdout)
    assert len(verdicts) == len(files)
    assert all(not verdict["enters"] for verdict in verdicts[1:])
    assert not (tmp_path / "trace").exists()
    # gin does execute the first of them where it is let
    words = [sys.executable, "-c", f"import gin; gin.parse_config({GIN_TRICKS[0]!r})"]
    subprocess.run(words, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)}, check=True)
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("text", "does"),
    [
        (OUTSIDE, True),
        ('import lra\n@lra.models.attention.register_attention("mine")\nclass X: pass', True),
        ("from x import *\nfor name in NAMES:\n    register_attention(name)(f)", True),
        (OUTSIDE.replace("mine", "yours"), False),
        ("register_attention", False),
        ("register_attention()", False),
        ("x" + "(" * 100_000, False),
        ("-" * 100_000 + "1", False),
        ("\x00", False),
    ],
)
def test_a_source_is_parsed_for_the_name_that_it_registers(text, does):
    assert registers(text, "mine") == does


# --- Commands --------------------------------------------------------------------------------------------------


def test_submit_writes_the_record_as_it_is(published, tmp_path, capsys):
    record = fair()
    write(record, tmp_path / "results" / "records")
    words = ["--results", str(tmp_path / "results"), "--to", str(tmp_path / "out")]
    assert main(["leaderboard", "submit", record.run[:7], *words]) == 0
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == file_name(record)
    assert read(path) == record
    assert f"lra leaderboard validate {path}" in capsys.readouterr().out
    assert main(["leaderboard", "validate", str(path)]) == 0
    assert f"{path}: may enter" in capsys.readouterr().out


def test_submit_refuses_what_may_not_enter(published, tmp_path, capsys):
    write(fair(parameters=1), tmp_path / "results" / "records")
    bad, good = fair(parameters=1), fair(seeds=(3,))
    words = ["--results", str(tmp_path / "results"), "--to", str(tmp_path / "out")]
    assert main(["leaderboard", "submit", bad.run, *words]) == 1
    assert "the record says 1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    path = write(good, tmp_path)
    files = [str(path), str(next((tmp_path / "results" / "records").iterdir()))]
    assert main(["leaderboard", "validate", *files]) == 1
    said = capsys.readouterr()
    assert f"{files[0]}: may enter" in said.out
    assert f"{files[1]}: may not enter\n  it has 77,258" in said.out
    assert "1 of 2 may not enter" in said.err


def test_a_run_is_found_by_how_its_name_begins(published, tmp_path, capsys):
    runs = [write(fair(seeds=(seed,)), tmp_path / "results" / "records") for seed in range(17)]
    words = ["--results", str(tmp_path / "results"), "--to", str(tmp_path)]
    for name, says in (("nothing", "neither a file nor a run"), ("", "several runs"), ("../x", "neither a file")):
        assert main(["leaderboard", "submit", name, *words]) == 2
        assert says in capsys.readouterr().err
    first = Counter(path.stem.rpartition(".")[2][0] for path in runs).most_common(1)[0][0]  # 17 names, 16 digits
    assert main(["leaderboard", "submit", first, *words]) == 2
    assert "several runs" in capsys.readouterr().err
    assert main(["leaderboard", "submit", runs[0].name, *words]) == 0


def test_a_missing_file_is_one_line(capsys):
    assert main(["leaderboard", "validate", "nowhere.json"]) == 1
    said = capsys.readouterr()
    assert "nowhere.json: there is no such file" in said.out
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err + said.out


def test_a_record_gives_the_terminal_no_commands(published, tmp_path, capsys):
    trick = "local.radius = '\x1b[2J\u202e'"
    path = write(
        fair(protocol__overrides=[trick, "train.steps = \x07\r"], measured__hardware={"device": trick}), tmp_path
    )
    assert main(["leaderboard", "validate", str(path)]) == 1
    assert main(["compare", str(path), str(next(published.iterdir()))]) == 0
    assert main(["leaderboard", "submit", str(path)]) == 1
    said = capsys.readouterr()
    assert "local (radius = ' [2J '" in said.out
    for text in (said.out, said.err):
        assert not {"\x1b", "\u202e", "\x07", "\r"} & set(text)
