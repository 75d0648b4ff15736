"""One rule for names: what is admitted where a name is born can stand in a configuration, a record and a file name."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import as_json, make, put

from lra import extension
from lra.cli import main
from lra.configuration import parse_override
from lra.errors import UsageError, UserError
from lra.leaderboard.reading import read
from lra.models.attention import VARIANTS, register_attention
from lra.names import is_name
from lra.recipe import protocols
from lra.sections import SECTIONS
from lra.tasks import TASKS

BAD = ["_mine", "a" * 65, "a.b", "my-attention", "2nd", "ä", "a b", "a\n", "", "..", "a/b"]


@pytest.fixture(autouse=True)
def registry(monkeypatch, tmp_path):
    before = dict(VARIANTS)
    monkeypatch.chdir(tmp_path)
    yield
    VARIANTS.clear()
    VARIANTS.update(before)


def test_all_names_of_the_project_are_names():
    assert all(map(is_name, [*TASKS, *VARIANTS, *SECTIONS, *protocols()]))


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_name_is_refused_where_it_is_born(name, capsys):
    with pytest.raises(UsageError, match="is no name for a variant"):
        register_attention(name)
    assert main(["new", "--", name]) == 2
    assert "is no name for a variant" in capsys.readouterr().err
    assert not [*Path().iterdir()]
    with pytest.raises(UsageError, match="is no name for a task"):
        dataclasses.replace(TASKS["listops"], name=name)


names = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,63}", fullmatch=True)


@settings(max_examples=50)
@given(names.filter(lambda name: name not in {*VARIANTS, *TASKS, *SECTIONS}))
def test_every_name_can_be_bound_and_recorded(tmp_path_factory, name):
    register_attention(name)(lambda q, k, v, mask, radius=3: v)
    assert parse_override(f"{name}.radius = 4").value == 4
    del VARIANTS[name]
    record = make(name, config=f"{name}.radius = 4\ntrain.select = 'best'\ntrain.steps = 600\n")
    assert read(put(tmp_path_factory.mktemp("names"), json.dumps(as_json(record)))) == record


@pytest.mark.parametrize("name", ["jax", "test", "numpy", "lra", "flax", "random", "os", "pytest"])
def test_new_writes_no_file_that_hides_a_module(name, capsys):
    assert main(["new", name]) == 2
    assert f"'{name}' is a module of Python or of an installed package, which {name}.py would hide" in (
        capsys.readouterr().err
    )
    assert not [*Path().iterdir()]


@pytest.mark.parametrize("name", ["class", "jnp", "all", "cosine", "train", "encoder", "listops", "adamw"])
def test_new_refuses_names_that_mean_something_else(name, capsys):
    assert main(["new", name]) == 2
    assert "choose another" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["cosine", "train", "encoder", "listops", "adamw"])
def test_a_variant_with_the_name_of_a_section_or_task_stops_itself_alone(name, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("LRA_HOME", str(tmp_path))
    register_attention(name)(lambda q, k, v, mask: v)
    for words in (["variants", "local"], ["tasks"]):
        assert main(words) == 0, words
        assert "this name means something else" not in capsys.readouterr().err, words
    assert main(["check", name]) == 2
    assert "this name means something else; choose another" in capsys.readouterr().err


def test_a_file_with_such_a_name_or_a_path_without_letters_leaves_nothing(tmp_path):
    file = tmp_path / "mine.py"
    variant = (
        "from lra.models.attention import register_attention\n@register_attention('{}')\ndef f(q, k, v, mask): return v"
    )
    file.write_text("\n".join(variant.format(name) for name in ("fine", "cosine")), "utf-8")
    with pytest.raises(UsageError, match=r"mine\.py, line 5\): this name means something else"):
        extension.load(file)
    assert not {"fine", "cosine"} & VARIANTS.keys()
    undecoded = tmp_path / b"\xfc.py".decode("ascii", "surrogateescape")  # as Python reads it under LC_ALL=C
    undecoded.write_text(variant.format("fine"), "utf-8")
    with pytest.raises(UserError, match=r"udcfc\.py': this locale cannot name it; set PYTHONUTF8=1"):
        extension.load(undecoded)
