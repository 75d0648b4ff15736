"""A record that is handed in says which checks its variant holds: as `lra check` found, or as found from its source."""

import json
from pathlib import Path
from typing import Any

import pytest
from made_records import make

from lra.checks import recorded, status
from lra.checks.recorded import checks_of
from lra.checks.runner import Result
from lra.errors import UserError
from lra.files import sha256_text
from lra.leaderboard.record import Record, as_json
from lra.models.attention import VARIANTS

SOURCE = """from lra.models.attention import register_attention

@register_attention("handed_in")
def handed_in(q, k, v, mask, radius: int = 3):
    return q
"""
FOUND = [
    Result("shape", "holds"),
    Result("oracle", "does not apply", ("it has none",)),
    Result("causality", "fails", ("it raised at /a folder/of/its author/handed_in.py, line 5", "more")),
    Result("order", "excepted", ("it changes by 3",), "the paper's"),
    Result("reach", "not run", ("'causality' fails",)),
]


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch, registry):
    monkeypatch.setenv("LRA_HOME", str(tmp_path))


@pytest.fixture
def ran(monkeypatch) -> list[tuple[Any, ...]]:
    """The calls of `check_variant`, which finds nothing wrong."""
    calls: list[tuple[Any, ...]] = []

    def check(name: str, options: Any, advance: Any) -> list[Result]:
        calls.append((name, VARIANTS[name].source_sha256, *options))
        return [Result("shape", "holds")]

    monkeypatch.setattr(recorded, "check_variant", check)
    return calls


def handed_in(*overrides: str) -> Record:
    text = {"variant__sources": {"handed_in.py": SOURCE}, "variant__source_sha256": sha256_text(SOURCE)}
    return make("handed_in", protocol__overrides=[*overrides], **text)


def load(tmp_path: Path, text: str = SOURCE) -> None:
    from lra import extension

    (tmp_path / "handed_in.py").write_text(text)
    extension.load(tmp_path / "handed_in.py")


def of(record: Record, trust: bool = False) -> Any:
    return as_json(checks_of(record, trust, lambda count: None))


def test_of_the_projects_own_variants_nothing_is_recorded(ran):
    assert checks_of(make("local"), True, lambda count: None) is None
    assert ran == []


def test_what_lra_check_found_of_this_source_is_taken_and_nothing_is_executed(tmp_path, ran):
    load(tmp_path)
    status.save(VARIANTS["handed_in"], FOUND)
    del VARIANTS["handed_in"]
    found = of(handed_in())
    assert found.pop("lra")
    assert found == {
        "holds": ("shape", "oracle"),
        "fails": {"causality": "it raised at handed_in.py, line 5"},
        "excepted": {"order": "the paper's"},
        "not_run": {"reach": "'causality' fails"},
    }
    assert (ran, "handed_in" in VARIANTS) == ([], False)


def test_results_of_another_source_or_under_other_options_are_not_taken(tmp_path, ran):
    load(tmp_path, SOURCE + "# changed\n")
    status.save(VARIANTS["handed_in"], FOUND)
    with pytest.raises(UserError, match=r"run 'lra check --import FILE handed_in' if .* or say --trust"):
        of(handed_in())
    load(tmp_path)
    status.save(VARIANTS["handed_in"], FOUND)
    del VARIANTS["handed_in"]
    assert of(handed_in("train.steps = 9"))["fails"]
    other = handed_in("handed_in.radius = 5", "train.steps = 9")
    with pytest.raises(UserError, match=r"handed_in --gin 'handed_in.radius = 5'' if"):
        of(other)
    assert ran == []
    load(tmp_path, SOURCE + "# changed so that it is run again\n")
    load(tmp_path)
    status.save(VARIANTS["handed_in"], FOUND[:1], ["handed_in.radius=5"])
    assert of(other)["holds"] == ("shape",)


def test_with_trust_the_source_in_the_record_is_checked_once(tmp_path, ran):
    load(tmp_path, SOURCE + "# another\n")
    record = handed_in("handed_in.radius = 5", "train.steps = 9")
    assert of(record, trust=True)["holds"] == ("shape",)
    assert ran == [("handed_in", sha256_text(SOURCE), "handed_in.radius = 5")]
    assert of(record)["holds"] == ("shape",)
    assert len(ran) == 1


def test_a_variant_that_is_here_already_needs_no_trust(tmp_path, ran):
    load(tmp_path)
    assert of(handed_in())["holds"] == ("shape",)
    assert len(ran) == 1
    (kept,) = (tmp_path / "checks").iterdir()
    assert [result["check"] for result in json.loads(kept.read_text())["results"]] == ["shape"]
