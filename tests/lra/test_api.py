"""What `import lra` offers: the page that documents it runs, and it does what the commands do."""

import doctest
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from conftest import SMALL, bindings

import lra
from lra.cli import main
from lra.errors import UsageError, UserError
from lra.models.attention import VARIANTS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"


def test_the_page_is_what_it_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    try:
        results = doctest.testfile(str(PAGE), module_relative=False)
    finally:
        VARIANTS.pop("mean_of_all", None)
    assert results.attempted > 20
    assert results.failed == 0


@pytest.mark.parametrize("module", ["lra.spec", "lra.typed", "lra.plan"])
def test_the_examples_of_docstrings_run(module):
    results = doctest.testmod(import_module(module))
    assert results.attempted
    assert not results.failed


def test_importing_imports_nothing_heavy():
    """`import lra` takes milliseconds: not even NumPy is read until a function is used."""
    call = (
        "import sys, lra\n"
        "heavy = {'jax', 'numpy', 'flax', 'rich', 'gin', 'orbax', 'msgspec', 'argparse'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert lra.RunSpec('listops', 'local', 'demo').seeds == (0,)\n"
        "assert 'run' in dir(lra)\n"
    )
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_name_is_there_and_documented():
    page, stub = PAGE.read_text(), Path(lra.__file__).with_suffix(".pyi").read_text()
    assert [line.split()[-1] for line in stub.splitlines() if line.startswith("from")] == list(lra._API)
    for name in lra._API:
        assert getattr(lra, name).__doc__, name
        assert f"lra.{name}" in page or name == "Plan", name
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        lra.trian  # noqa: B018


def test_a_command_and_the_function_behind_it_make_one_run(home, tmp_path, capsys):
    spec = lra.RunSpec("listops", "linear", "demo", seeds=(1,), overrides=tuple(SMALL))
    record = lra.run(spec, tmp_path)
    words = ["run", "--task", "listops", "--variant", "linear", "--protocol", "demo", "--seeds", "1"]
    assert main([*words, *bindings(*SMALL), "--results", str(tmp_path), "--json"]) == 0
    said = capsys.readouterr()
    assert "recorded before" in said.err
    assert json.loads(said.out)[0]["run"] == record.run
    assert lra.run(spec, tmp_path) == record
    again = lra.run(spec, tmp_path, again=True)
    assert (again.seeds, again.curve) == (record.seeds, record.curve)
    (row,) = lra.rows([record])
    assert all(value is None or isinstance(value, str | int | float) for value in row.values())
    assert row["test_accuracy"] == record.seeds[0].test.accuracy
    (tmp_path / "records" / "broken.json").write_text("{")
    with pytest.raises(UserError, match=r"broken\.json"):
        lra.records(tmp_path)


def test_a_variant_without_a_text_is_not_trained(home, tmp_path):
    """The record could not say what it was."""
    program = "@register('typed_at_a_prompt')\ndef mixer(q, k, v, mask):\n    return v\n"
    exec(program, {"register": lra.register_attention, "__name__": "__main__"})
    try:
        spec = lra.RunSpec("listops", "typed_at_a_prompt", "demo", overrides=tuple(SMALL))
        assert lra.build_model(spec)
        with pytest.raises(UserError, match=r"'typed_at_a_prompt' has no text .* put it into a file"):
            lra.run(spec, tmp_path)
        assert not list(tmp_path.rglob("*.json"))
    finally:
        VARIANTS.pop("typed_at_a_prompt", None)


def test_a_wrong_binding_of_a_check_is_no_finding():
    for overrides in (["local.radios = 2"], "local.radius = 2"):
        with pytest.raises(UsageError, match=r"did you mean 'radius'|is not a list of texts"):
            lra.check("local", overrides)
