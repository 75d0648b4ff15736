"""What a user is told who forgot something: one line that names it and the way out, and a command that works."""

import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import lra
from lra import cli
from lra.errors import UserError
from lra.tasks import TASKS
from lra.tasks.prepared import with_files

SOURCE = 'from lra.models.attention import register_attention\n@register_attention("of_mine")\n{target}\n'
FUNCTION = SOURCE.format(target="def f(q, k, v, mask):\n    return q")
OBJECT = re.compile(r" at 0x|<\w+[. ]")  # how Python writes an object that has no notation


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch, registry):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))


def said(line: str, capsys: Any) -> str:
    """What a command that fails says, which is one line."""
    assert cli.main(shlex.split(line)) in (1, 2)
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert not OBJECT.search(text)
    return text.removeprefix("lra: ").strip()


# --- A variant that is not loaded ------------------------------------------------------------------------------

NAMED = [
    "run --task listops --protocol demo --variant {}",
    "check {}",
    "variants {}",
    "bench variants --variant {}",
    "ci baseline {}",
    "run --task listops --protocol demo --variant local --gin '{}.radius = 3'",
]


@pytest.mark.parametrize("line", NAMED)
def test_the_file_that_registers_the_name_is_named(line, capsys):
    Path("mine too.py").write_text(FUNCTION)
    Path("broken.py").write_bytes(b"\xff\x00")
    text = said(line.format("of_mine"), capsys)
    assert "no variant is called 'of_mine' here, but mine too.py registers one: add --import 'mine too.py'" in text


def test_no_file_is_executed_to_find_the_name(capsys):
    Path("mine.py").write_text("open('trace', 'w')\n" + FUNCTION)
    said("check of_mine", capsys)
    assert not Path("trace").exists()


@pytest.mark.parametrize("line", NAMED[:-1])
def test_without_such_a_file_the_nearest_is_offered_and_the_option_is_named(line, capsys):
    text = said(line.format("performr"), capsys)
    assert text == "no variant is called 'performr'; did you mean 'performer'? (--import FILE loads one of your own)"


def test_a_file_in_place_of_a_name_and_a_name_in_place_of_a_file(tmp_path, capsys):
    Path("mine.py").write_text(FUNCTION)
    assert "'mine.py' is a file and no variant; say --import mine.py and" in said("check mine.py", capsys)
    assert f"there is no such file; did you mean {tmp_path / 'mine.py'}?" in said("check --import mine x", capsys)
    assert "is a folder; name the Python file" in said("check --import . x", capsys)
    Path("mine.ipynb").write_text("{}")
    assert "is a notebook" in said("check --import mine.ipynb x", capsys)
    Path("bytes.py").write_bytes(b"\xff\xfe\xfd")
    assert "line 0" not in said("check --import bytes.py x", capsys)


# --- What is no variant ----------------------------------------------------------------------------------------

CLASS = "class F({}):\n    def __call__(self, q, k, v, mask):\n        return q\n"
TARGETS = {
    "linen": ("import flax.linen as nn\n" + SOURCE.format(target=CLASS.format("nn.Module")), "a module of Flax Linen"),
    "plain class": (SOURCE.format(target=CLASS.format("")), "a class without a base"),
    "object": ("from flax import nnx\n" + CLASS.format("nnx.Module")
               + "from lra.models.attention import register_attention\nregister_attention('of_mine')(F())\n",
               "an object of class F, not the class"),
    "number": (SOURCE.partition("@")[0] + "register_attention('of_mine')(3)\n", "of type int"),
}  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_neither_a_function_nor_a_class_of_nnx_is_told_what_it_should_be(name, capsys):
    source, what = TARGETS[name]
    Path("mine.py").write_text(source)
    text = said("check --import mine.py of_mine", capsys)
    assert f"variant 'of_mine' is {what}" in text
    assert "class Mine(nnx.Module) with __init__(self, shape, *, rngs) and __call__(self, q, k, v, mask)" in text


@pytest.mark.parametrize("module", ["torch.nn.modules.module", "haiku._src.module", "equinox._module"])
def test_modules_of_other_frameworks_are_known_without_importing_them(module):
    from lra.models.attention.elsewhere import FRAMEWORKS, refuse_others

    kind = type("F", (), {"__module__": module, "__call__": lambda self, q, k, v, mask: q})
    for target in (kind, kind()):
        with pytest.raises(UserError, match=f"is a module of {FRAMEWORKS[module.partition('.')[0]]}; it must be"):
            refuse_others("mine", target)


def test_a_decorator_without_a_name_and_an_option_without_a_notation(capsys):
    Path("mine.py").write_text(FUNCTION.replace('("of_mine")', ""))
    assert 'the decorator takes a name: @register_attention("my_attention")' in said("check --import mine.py f", capsys)
    Path("mine.py").write_text(FUNCTION.replace("mask)", "mask, act=print)"))
    text = said("check --import mine.py of_mine", capsys)
    assert "the default of 'act', a builtin_function_or_method, can stand in no record" in text


# --- Values ----------------------------------------------------------------------------------------------------

PLAIN = "this is no plain value: a number, a text in quotes"
VALUES = {
    "abc": "abc is no plain value, a text stands in quotes: 'abc'",
    "true": "true is no plain value, write True",
    "cosine": "cosine is no plain value, a section stands as @cosine()",
    "": "it has no value",
    **dict.fromkeys(["[abc]", "(1, abc)", "{abc: 1}", "{1, 2}", "f(3)", "f'x'", "1 + 2", "-abc", "a.b", "...",
                     "lambda x: x", "[x for x in y]", "3 if x else 4", "not x", "1L"], PLAIN),
    "(1": "a bracket is not closed",
    "@abc": "a reference reads like @cosine()",
    "print": "print is no plain value",
}  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
def test_what_is_no_value_is_told_in_words(value, capsys):
    line = shlex.join(["run", "--task", "listops", "--protocol", "demo", "--variant", "local", "--gin",
                       f"local.radius = {value}"])  # fmt: skip
    text = said(line, capsys)
    assert VALUES[value] in text
    if value not in ("...", "@abc"):
        assert "train.steps = 500" in text


def test_the_items_of_a_list_and_of_a_dict_have_their_types(capsys):
    arguments = "mask, sizes: list[float] = None, by: dict[str, int] = None)"
    Path("mine.py").write_text(FUNCTION.replace("mask)", arguments))
    spec = lra.RunSpec("listops", "of_mine", "demo", imports=("mine.py",), overrides=("of_mine.sizes = [1, 2.5]",))
    assert [type(size) for size in lra.resolve(spec).options.sizes] == [float, float]
    line = 'check --import mine.py of_mine --gin "of_mine.{}"'
    assert "['a'] is not a list of numbers or None" in said(line.format("sizes = ['a']"), capsys)
    assert "{'a': 0.5} is not a dict or None" in said(line.format("by = {'a': 0.5}"), capsys)


def test_values_of_the_api_that_are_none(capsys):
    for call, says in (
        (lambda: lra.prepare("listops", workers=0), "workers = 0 is not at least 1"),
        (lambda: lra.build_model(lra.RunSpec("listops", "local", "demo"), seed=-1), "seeds -1 are not whole numbers"),
        (lambda: lra.RunSpec(object(), "local", "demo"), "task = an object of a run spec is not a text"),
        (lambda: lra.resolve(object()), "an object is no run spec"),
        (lambda: lra.resolve(lra.RunSpec("listops", "local", "demo", overrides=("encoder.layers = 100000000",))),
         "encoder.layers = 100000000 is more than 1,000"),
    ):  # fmt: skip
        with pytest.raises(UserError) as caught:
            call()
        assert says in str(caught.value)


# --- Files and folders -----------------------------------------------------------------------------------------


def test_a_record_that_is_not_there_is_not_called_a_damaged_one(tmp_path, capsys):
    for line in ("leaderboard validate nowhere.json", "leaderboard validate ."):
        assert cli.main(shlex.split(line)) == 1
        reason = capsys.readouterr().out.splitlines()[1]
        assert ("there is no such file" if "nowhere" in line else "is a folder; name the files") in reason
        assert "run it again" not in reason
    assert "neither a file nor a run recorded in other; 'lra runs --results other'" in said(
        "leaderboard submit nowhere.json --results other", capsys
    )


# --- Commands that messages suggest ----------------------------------------------------------------------------


def test_a_task_is_prepared_as_its_protocol_has_it(capsys):
    """Without a protocol, a task has sizes that no run may need; the warning names those that do."""
    small = "--gin listops.train=9 --gin listops.validation=3 --gin listops.test=3 --workers 1"
    assert cli.main(shlex.split(f"prepare listops {small}")) == 0
    text = capsys.readouterr()
    assert "lra prepare listops --protocol demo or lra prepare listops --protocol paper" in text.out
    assert cli.main(shlex.split(f"prepare listops --protocol demo {small}")) == 0
    assert "note" not in capsys.readouterr().out
    assert cli.main(["tasks", "--json"]) == 0


def test_the_sizes_that_serve_a_protocol_are_those_of_its_recipe():
    from lra.recipe import protocols_of, task_and_source

    for task in TASKS.values():
        for name, source in protocols_of(task).items():
            assert task_and_source(task.name, name, ()) == (task, source)
    assert list(protocols_of(TASKS["text"])) == ["paper"]
    assert list(protocols_of(TASKS["synthetic_text"])) == ["demo"]


def test_a_command_to_prepare_has_the_files_that_it_needs():
    how = "lra prepare retrieval --protocol paper"
    assert with_files(TASKS["retrieval"], how).endswith(f"and run: {how} --from lra_release.gz")
    assert with_files(TASKS["retrieval"], how, "/a b/c.gz") == f"run: {how} --from '/a b/c.gz'"
    assert with_files(TASKS["listops"], "lra prepare listops") == "run: lra prepare listops"
    assert with_files(TASKS["listops"], "x", "generated") == "run: x"
    assert TASKS["text"].archive == "aclImdb_v1.tar.gz"


def test_commands_that_messages_suggest_are_commands(capsys):
    from lra.commands import data

    texts = [with_files(task, f"lra prepare {task.name} --protocol paper") for task in TASKS.values()]
    texts += [data.others(SimpleNamespace(task="text", read_from=Path("a b.gz")), [name]) for name in ("demo", "paper")]
    texts += [
        said(line, capsys)
        for line in ("run --task listops --variant local --protocol demo", "show image --protocol paper")
    ]
    commands = [text.partition("run: ")[2] or text.partition("runs: ")[2] for text in texts]
    quoted = [
        said(line, capsys)
        for line in ("show image", "compare x y", "leaderboard submit x --results 'a b'", "ci baseline")
    ]
    commands += [re.findall(r"'(lra .*)'", text)[0] for text in quoted]
    for command in commands:
        words = shlex.split(command)
        assert words[0] == "lra"
        cli.parse(words[1:])
