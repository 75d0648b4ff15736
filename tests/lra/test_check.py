"""`lra check`, `lra new`, and variants from installed packages, as a user meets them."""

import importlib
import json
import os
import sys

import pytest
from conftest import SMALL, bindings, lra

from lra.checks import CHECKS, parametrize_with_checks, run_check
from lra.checks.runner import Subjects
from lra.checks.subject import LENGTH
from lra.cli import main
from lra.models.attention import VARIANTS

BROKEN = """
import jax.numpy as jnp
from lra.models.attention import register_attention

@register_attention("{name}"{more})
def f(q, k, v, mask):
    {body}
"""


@pytest.fixture(autouse=True)
def registry(monkeypatch, tmp_path):
    before = set(VARIANTS)
    monkeypatch.chdir(tmp_path)
    yield
    for name in set(VARIANTS) - before:
        del VARIANTS[name]


def write(name: str, body: str, more: str = "") -> str:
    with open(f"{name}.py", "w") as file:
        file.write(BROKEN.format(name=name, body=body, more=more))
    return f"{name}.py"


def test_a_good_variant_is_reported_check_by_check(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    assert main(["check", "linear"]) == 0
    said = capsys.readouterr().out
    assert all(f" {name} " in said for name in CHECKS)
    assert f"linear: {len(CHECKS)} hold" in said


def test_a_bad_one_fails_with_its_line_and_what_that_means(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    file = write("leaks", "return v.mean(1, keepdims=True) + q")
    assert main(["check", "--import", file, "leaks", "--json"]) == 1
    said = capsys.readouterr()
    (verdict,) = json.loads(said.out)
    assert said.err.splitlines()[-1] == "lra: not what they say: leaks (1 of 1)"
    assert (verdict["variant"], verdict["line"], verdict["holds"]) == ("leaks", 5, False)
    by_name = {check["name"]: check for check in verdict["checks"]}
    assert list(by_name) == list(CHECKS)
    assert by_name["shape"]["status"] == "holds"
    assert by_name["oracle"]["status"] == "does not apply"
    assert by_name["padding content"]["status"] == "fails"
    assert "real tokens change by" in by_name["padding content"]["details"][0]
    assert by_name["padding content"]["meaning"] == CHECKS["padding content"].meaning


def test_one_that_raises_is_named_with_file_and_line_and_not_checked_further(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    file = write("raises", "return jnp.dot(q, nothing)")
    assert main(["check", "--import", file, "raises"]) == 1
    said = capsys.readouterr().out
    assert "raises.py, line 7: NameError: name 'nothing' is not defined" in said
    assert said.count("not run") == 1
    assert f"{len(CHECKS) - 1} checks" in said
    assert "'shape' fails (lengths, all masked" in " ".join(said.split())


def test_an_exception_is_shown_with_its_reason(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    counts = "return q * jnp.arange(q.shape[1])[:, None, None].astype(q.dtype)"
    file = write("counts", counts, ', exceptions={"order": "because", "all masked": "needless"}')
    main(["check", "--import", file, "counts", "--json"])
    (verdict,) = json.loads(capsys.readouterr().out)
    by_name = {check["name"]: (check["status"], check["reason"]) for check in verdict["checks"]}
    assert by_name["order"] == ("excepted", "because")
    assert by_name["all masked"] == ("holds", "")  # what holds needs no exception
    main(["check", "--import", write("counts_too", counts, ', exceptions={"order": "because"}'), "counts_too"])
    assert "Excepted: because" in capsys.readouterr().out


def test_an_exception_to_no_check_is_named(capsys):
    file = write("mistaken", "return q", ', exceptions={"oder": "because"}')
    assert main(["check", "--import", file, "mistaken"]) == 1
    assert "did you mean 'order'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["check", "lineer"], "did you mean 'linear'?"),
        (["check", "linear", "--gin", "linear.epsilom = 1"], "did you mean 'epsilon'?"),
        (["check", "linear", "--workers", "0"], "--workers 0"),
        (["check"], "NAME"),
        (["new", "my-attention"], "'my-attention' is no name"),
        (["new", "../x"], "is no name"),
        (["new", "class"], "'class' is no name"),
        (["new", "linear"], "'linear' is there already"),
    ],
)
def test_mistakes_are_one_line(words, says, capsys):
    assert main(words) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert said.err.count("\n") == 1
    assert not said.out


@pytest.mark.slow
def test_several_are_checked_in_processes_and_the_list_knows_what_was_found(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    status = lambda: {entry["name"]: entry["check"] for entry in json.loads(capsys.readouterr().out)}
    file = write("mine", "return q")
    main(["variants", "--json"])
    assert set(status().values()) == {"not checked"}
    assert main(["check", "--import", file, "fnet", "mine", "--workers", "2"]) == 1
    said = capsys.readouterr()
    assert "mine: " in said.err
    assert " causality " in said.out
    main(["variants", "--json", "--import", write("other", "return q")])
    statuses = status()
    assert statuses["fnet"] == f"{len(CHECKS) - 1} hold"  # one does not apply
    assert statuses["mine"].startswith(("1 fail", "2 fail", "3 fail"))
    with open(file, "a") as code:
        code.write("# changed\n")
    main(["variants", "--json", "--import", file])
    assert status()["mine"] == "changed since"


def test_new_writes_a_file_that_runs(home, capsys):
    assert main(["new", "my_attention"]) == 0
    said = capsys.readouterr().out
    before = open("my_attention.py").read()
    assert before.count("CHANGE") == 3
    assert main(["new", "my_attention"]) == 1
    assert "my_attention.py is there already" in capsys.readouterr().err
    assert open("my_attention.py").read() == before
    check, prepare, run, _ = (line.split()[1:] for line in said.splitlines() if line.startswith("    lra "))
    assert check == ["check", "--import", "my_attention.py", "my_attention"]  # test_readme.py calls it
    assert prepare == ["prepare", "listops", "--protocol", "demo"]
    assert main([*run, *bindings(*SMALL)]) == 0


def test_a_run_whose_variant_gives_nan_says_so(home, capsys):
    file = write("nan", "return q / (0 * q)")
    words = ["run", "--import", file, "--task", "listops", "--variant", "nan", "--protocol", "demo"]
    assert main([*words, *bindings(*SMALL)]) == 1
    said = capsys.readouterr()
    assert f"at the first step; 'lra check --import {os.path.abspath(file)} nan' says more" in said.out + said.err
    assert "nan.py, line 5" in said.out + said.err


def package(folder, name: str, code: str) -> None:
    """An installed package with an entry point."""
    (folder / f"{name}.py").write_text(code)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[lra.attention]\n{name} = {name}\n")


@pytest.mark.slow
def test_installed_packages_bring_variants_by_an_entry_point(tmp_path):
    package(tmp_path, "fine", BROKEN.format(name="from_a_package", body="return q", more=', paper="theirs"'))
    package(tmp_path, "damaged", "raise ValueError('boom')")
    package(tmp_path, "taken", BROKEN.format(name="cosine", body="return q", more=""))
    done = lra("variants", PYTHONPATH=str(tmp_path), LRA_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "from_a_package" in done.stdout
    assert sorted(done.stderr.splitlines()) == [
        "lra: variants of package damaged (damaged) are left out: ValueError: boom",
        f"lra: variants of package taken (taken) are left out: UsageError: variant 'cosine' ({tmp_path / 'taken.py'}, "
        "line 5): this name means something else; choose another",
    ]
    assert "cosine" not in [line.split()[0] for line in done.stdout.splitlines() if line.split()]


def test_parameters_given_by_hand_are_what_is_checked():
    subjects = Subjects(VARIANTS["linformer"], ["linformer.rank = 4", "linformer.share = 'headwise'"])
    assert run_check(CHECKS["reach"], subjects).status == "holds"
    assert subjects.subject(0).module.core.e.shape == (4, LENGTH)
    large = run_check(CHECKS["parameters"], Subjects(VARIANTS["linformer"], ["linformer.rank = 999"]))
    assert large.status == "fails"
    assert any(detail.startswith("retrieval: ") for detail in large.details)


def test_in_pytest_a_check_passes_skips_fails_or_is_expected_to_fail():
    """What `parametrize_with_checks` hands to a test, one for each variant and check."""
    sys.path.insert(0, ".")
    importlib.import_module(write("ordered", "return q * jnp.arange(q.shape[1])[:, None, None].astype(q.dtype)",
                                  ', exceptions={"order": "because"}').removesuffix(".py"))  # fmt: skip
    mark = parametrize_with_checks(["linear", "ordered"]).mark
    cases = {case.id: case.values[0] for case in mark.args[1]}
    assert mark.args[0] == "check"
    assert list(cases) == [f"{name}-{check}" for name in ("linear", "ordered") for check in CHECKS]
    cases["linear-all masked"]()
    with pytest.raises(pytest.skip.Exception, match="no oracle"):
        cases["ordered-oracle"]()
    with pytest.raises(pytest.xfail.Exception, match="because"):
        cases["ordered-order"]()
    with pytest.raises(AssertionError, match=r"ordered\.py, line 5: .*no output depends.*: it cheats where"):
        cases["ordered-causality"]()
    sys.path.remove(".")
