"""Configurations as values: what the language accepts and refuses, and the place that an error names."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import lra, resolved
from hypothesis import given, settings
from hypothesis import strategies as st

from lra import recipe
from lra.configuration import parse, parse_override
from lra.errors import UsageError
from lra.models.attention import VARIANTS
from lra.recipe import merged, parsed, set_by_protocols
from lra.sections import SECTIONS, section_named
from lra.tasks import TASKS
from lra.typed import typed

REFUSED = {
    "section": ("trian.steps = 5", "no section, task or variant is called 'trian'; did you mean 'train'?"),
    "variant": ("lokal.radius = 5", "did you mean 'local'?"),
    "task": ("listpos.train = 5", "did you mean 'listops'?"),
    "parameter": ("train.stepz = 5", "no parameter of train is called 'stepz'; did you mean 'steps'?"),
    "option": ("local.width = 5", "no parameter of local is called 'width'"),
    "float for int": ("train.steps = 5.0", "train.steps = 5.0 is not a whole number"),
    "bool for int": ("train.steps = True", "train.steps = True is not a whole number"),
    "text for int": ("local.radius = '5'", "local.radius = '5' is not a whole number"),
    "int for text": ("encoder.pool = 5", "encoder.pool = 5 is not a text in quotes"),
    "text for float": ("cosine.base = 'x'", "cosine.base = 'x' is not a number"),
    "int for bool": ("mega.bias = 1", "mega.bias = 1 is not True or False"),
    "none": ("train.steps = None", "train.steps = None is not a whole number"),
    "not optional": ("adamw.clip = 'no'", "adamw.clip = 'no' is not a number or None"),
    "tuple": ("pathx.paddle_margins = (1, 2.5)", "2.5 is not a whole number"),
    "one for a tuple": ("pathx.paddle_margins = 2", "2 is not a tuple of whole numbers"),
    "infinite": ("cosine.base = 1e999", "cosine.base = inf is not a number"),
    "huge": (f"encoder.dim = {'9' * 400}", "is not a whole number"),
    "bare word": ("local.radius = abc", "abc is no plain value, a text stands in quotes: 'abc'"),
    "call": ("local.radius = open('x')", "local.radius = open('x')"),
    "no value": ("train.steps", "train.steps"),
    "no parameter": ("train = 5", "a binding reads like 'train.steps = 500'"),
    "unclosed": ("local.radius = (", "local.radius = ("),
    "two": ("train.steps = 1\ntrain.steps = 2", "it has 2 bindings, not one"),
    "nothing": ("# nothing", "it has 0 bindings"),
    "deep": (f"local.radius = {'(' * 5000}", "local.radius = ((((("),
    "import": ("import os", "an import is refused"),
    "from import": ("from os import path", "an import is refused"),
    "include": ("include 'x.gin'", "an include is refused"),
    "macro": ("train.steps = %steps", "macros are refused"),
    "macro's name": ("steps = 5", "a binding reads like 'train.steps = 500'"),
    "scope": ("a/train.steps = 5", "without a scope"),
    "module": ("lra.train.steps = 5", "without a scope"),
    "reference for a number": ("train.steps = @cosine()", "train.steps = @cosine() is not a whole number"),
    "other reference": ("adamw.learning_rate = @adamw()", "no schedule is called 'adamw'"),
    "unknown reference": ("adamw.learning_rate = @cosin()", "did you mean 'cosine'?"),
    "reference uncalled": ("adamw.learning_rate = @cosine", "a reference reads like @cosine()"),
    "reference in a value": ("mega.state = (1, @cosine())", "@cosine() stands by itself"),
    "macro in a value": ("pathx.paddle_margins = (1, %two)", "%two: macros are refused"),
    "scoped reference": ("adamw.learning_rate = @a/cosine()", "a reference reads like @cosine()"),
    "number for a section": ("adamw.learning_rate = 0.1", "adamw.learning_rate is a section, as in @"),
    "rule": ("protocol.select = 'last'", "protocol holds the rules of a protocol"),
}


@pytest.mark.parametrize(("override", "says"), REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_one_line_that_names_the_override(override, says):
    with pytest.raises(UsageError) as caught:
        resolved("listops", "local", "demo", overrides=[override])
    message = str(caught.value)
    assert says in message
    assert message.startswith("--gin '" + " ".join(override.splitlines())[:60])
    assert len(message) < 400


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("encoder.heads = 3", "encoder.qkv_dim = 64 does not divide by encoder.heads = 3"),
        ("encoder.pool = 'maen'", "did you mean 'mean'?"),
        ("train.steps = 0", "train.steps = 0 is not a whole number of at least 1"),
        ("train.select = 'besst'", "did you mean 'best'?"),
        ("train.compute_type = 'bfloat61'", "did you mean 'bfloat16'?"),
        ("cosine.warmup = 0", "cosine.warmup = 0 is not at least 1 step"),
        ("listops.max_length = 8", "listops.max_length = 8"),
        ("local.radius = -1", "local.radius = -1"),
    ],
)
def test_parameters_that_contradict_each_other_name_the_override(override, says):
    with pytest.raises(UsageError) as caught:
        resolved("listops", "local", "demo", overrides=[override])
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"--gin '{override}': ")


MISTAKES_IN_FILES = {
    "syntax": ("encoder.dim = = 3", 3, "this is no plain value: a number"),
    "word": ("encoder.dim = wide", 3, "wide is no plain value"),
    "parameter": ("encoder.dimm = 3", 3, "did you mean 'dim'?"),
    "type": ("encoder.dim = 'x'", 3, "encoder.dim = 'x' is not a whole number"),
    "twice": ("encoder.dim = 32\nencoder.heads = 2\nencoder.dim = 64", 5, "encoder.dim is bound twice, before in"),
    "import": ("import os", 3, "an import is refused"),
    "macro": ("encoder.dim = %wide", 3, "macros are refused"),
    "include": ("include 'other.gin'", 3, "an include is refused"),
    "rule": ("protocol.select = 'last'", 3, "protocol holds the rules of a protocol"),
}


@pytest.mark.parametrize(("text", "line", "says"), MISTAKES_IN_FILES.values(), ids=MISTAKES_IN_FILES)
def test_a_mistake_in_a_file_is_named_with_file_and_line(text, line, says, tmp_path, monkeypatch):
    """That holds for parts about other variants and tasks too: a file is checked whole."""
    folder = tmp_path / "protocols"
    (folder / "mine").mkdir(parents=True)
    (folder / "mine.gin").write_text("protocol.rules = 'none'\nprotocol.select = 'last'\n")
    file = folder / "mine" / "listops.gin"
    file.write_text(f"# mine\n\n{text}\n")
    monkeypatch.setattr(recipe, "GIN", tmp_path)
    with pytest.raises(UsageError) as caught:
        resolved("listops", "local", "mine")
    assert str(caught.value).startswith(f"{file}, line {line}: ")
    assert says in str(caught.value)


def test_what_a_file_sets_last_is_to_blame_for_a_contradiction(tmp_path, monkeypatch):
    folder = tmp_path / "protocols"
    (folder / "mine").mkdir(parents=True)
    (folder / "mine.gin").write_text("protocol.rules = 'none'\nprotocol.select = 'last'\n\nencoder.heads = 5\n")
    (folder / "mine" / "listops.gin").write_text("train.steps = 3\n")
    monkeypatch.setattr(recipe, "GIN", tmp_path)
    with pytest.raises(UsageError, match=r"mine\.gin, line 4: encoder\.qkv_dim = 512 does not divide by .*heads = 5"):
        resolved("listops", "local", "mine")


@pytest.mark.parametrize("missing", ["train.optimizer", "adamw.learning_rate", "cosine.cycle", "train.steps"])
def test_what_must_be_set_and_is_not_is_named(missing, tmp_path, monkeypatch):
    rest = {
        "train.optimizer": "@adamw()", "adamw.learning_rate": "@cosine()", "cosine.cycle": "5", "train.steps": "5",
    }  # fmt: skip
    del rest[missing]
    folder = tmp_path / "protocols"
    (folder / "mine").mkdir(parents=True)
    (folder / "mine.gin").write_text("protocol.rules = 'none'\nprotocol.select = 'last'\n")
    (folder / "mine" / "listops.gin").write_text("\n".join(f"{name} = {value}" for name, value in rest.items()))
    monkeypatch.setattr(recipe, "GIN", tmp_path)
    with pytest.raises(UsageError, match=rf"{missing} must be set, as in --gin '{missing} = "):
        resolved("listops", "local", "mine")


def test_one_parameter_is_set_once_by_hand():
    with pytest.raises(UsageError, match=r"--gin 'train.steps = 3': train.steps is bound twice, before in --gin"):
        parsed(["train.steps = 2", "train.steps = 3"])
    assert merged(["train.steps = 2", "local.radius = 1"], ["train.steps = 3"]) == (
        "local.radius = 1", "train.steps = 3",
    )  # fmt: skip


def test_a_block_is_bindings():
    bindings = parse("train:\n  steps = 3\n  batch_size = 4\nlocal.radius = 2\n", "x.gin")
    assert [str(binding) for binding in bindings] == ["train.steps = 3", "train.batch_size = 4", "local.radius = 2"]
    assert bindings[1].where == "x.gin, line 3"


plain = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=200)
@given(plain | st.text(max_size=20))
def test_values_are_those_that_python_reads(value):
    """A value is kept, or it is refused; it never becomes another one."""
    for section, parameter in (("train", "steps"), ("cosine", "base"), ("encoder", "pool"), ("mega", "bias"),
                               ("adamw", "clip"), ("lru", "state")):  # fmt: skip
        try:
            kept = parse_override(f"{section}.{parameter} = {value!r}").value
        except UsageError:
            continue
        assert kept == value
        assert isinstance(kept, bool) == isinstance(value, bool)
        hint = section_named(section).hints[parameter]
        assert typed(kept, hint) == kept


def test_every_parameter_says_what_it_means():
    """`lra variants NAME`, `lra tasks NAME` and docs/configuration.md print it."""
    for name in [*SECTIONS, *TASKS, *VARIANTS]:
        section = section_named(name)
        silent = set(section.hints) - set(section.meanings)
        assert not silent, f"{name} says nothing on {', '.join(sorted(silent))}"
        stale = set(section.meanings) - set(section.hints)
        assert not stale, f"{name} explains {', '.join(sorted(stale))}, which it does not have"


def test_a_command_shows_all_that_may_be_set_of_a_variant():
    done = lra("variants", "performer", "--json")
    assert done.returncode == 0, done.stderr
    shown = {row["name"]: row for row in json.loads(done.stdout)["parameters"]}
    assert shown.keys() == {"features", "redraw_every", "epsilon"}
    assert shown["features"]["default"] == VARIANTS["performer"].options().features == 256
    assert shown["features"]["protocols"] == {"demo": 32, "probe": 32}
    assert "random features" in shown["features"]["meaning"]
    assert set_by_protocols("performer") == {"features": {"demo": 32, "probe": 32}}


def test_gins_global_state_is_used_by_nothing(tmp_path, home):
    """gin is imported for its parser alone, and its configuration is empty before and after every command."""
    from lra.commands import COMMANDS

    sources = [path for room in ("lra", "tasks", "models", "leaderboard") for path in (ROOT / room).rglob("*.py")]
    imports_gin = re.compile(r"^\s*(import|from) gin\b", re.M)
    importing = [path for path in sources if imports_gin.search(path.read_text())]
    assert [path.name for path in importing] == ["configuration.py"]
    calls = [
        ["tasks"], ["variants", "local"], ["show", "listops", "--protocol", "demo"], ["leaderboard", "build"],
        ["run", "--task", "listops", "--variant", "local", "--protocol", "demo", "--gin", "train.steps = 0"],
    ]  # fmt: skip
    assert {call[0] for call in calls} <= {name.split()[0] for name in COMMANDS}
    program = (
        "import gin\nfrom lra.cli import main\n"
        f"for words in {calls!r}:\n"
        "    assert gin.config_str() == gin.operative_config_str() == ''\n"
        "    main(words)\n"
        "    assert gin.config_str() == gin.operative_config_str() == ''\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


ROOT = Path(__file__).resolve().parents[2]


def test_a_new_schedule_is_one_entry(monkeypatch):
    """The test adds one as a contributor would: a class, and a line in the table of sections."""
    from lra import sections
    from lra.optimizer import Schedule

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Constant(Schedule):
        value: float = 0.5

        def __call__(self, step):
            return self.value

    entry = sections.Section("constant", lambda: Constant, lambda: Constant)
    monkeypatch.setitem(sections.SECTIONS, "constant", entry)
    plan = resolved("listops", "local", "demo", overrides=["adamw.learning_rate = @constant()", "constant.value = 2"])
    assert plan.train.optimizer.learning_rate == Constant(value=2.0)
    assert "adamw.learning_rate = @constant()\n" in plan.config
    assert "constant.value = 2.0\n" in plan.config
    assert "cosine" not in plan.config
