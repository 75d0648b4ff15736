"""The commands as they are registered: each with a summary, help for all that it takes, and its place in the help."""

import argparse
import re
import shlex

import pytest

from lra import cli
from lra.commands import COMMANDS, GROUPS, ORDER
from lra.commands.command import REGISTERED
from lra.models.attention import VARIANTS
from lra.recipe import parsed
from lra.tasks import TASKS


def is_sentence(text: str) -> bool:
    return text[:1].isupper() and text.endswith(".")


def test_each_name_is_registered_once_and_all_of_them_are_commands():
    assert sorted(command.name for command in REGISTERED) == sorted(ORDER)
    assert len(set(ORDER)) == len(ORDER)
    assert {name.split()[0] for name in COMMANDS if " " in name} == set(GROUPS)
    assert all(is_sentence(summary) for summary in GROUPS.values())


@pytest.mark.parametrize("name", ORDER)
def test_a_command_has_a_summary_a_function_and_help_for_every_argument(name):
    assert is_sentence(COMMANDS[name].summary)
    assert callable(COMMANDS[name].run)
    assert 1 <= len(COMMANDS[name].examples) <= 3
    actions = cli.make_parsers()[name]._actions
    assert {"debug", "json"} < {action.dest for action in actions}
    assert [action.dest for action in actions if not action.help or action.help == argparse.SUPPRESS] == []


@pytest.mark.parametrize("name", [*ORDER, *GROUPS])
def test_help_of_each(name, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*name.split(), "--help"])
    assert stop.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(f"usage: lra {name} ")
    assert (COMMANDS[name].summary if name in COMMANDS else GROUPS[name]) in said


@pytest.mark.parametrize("name", ORDER)
def test_the_examples_in_the_help_of_a_command_are_calls_of_it(name):
    for words in COMMANDS[name].examples:
        options = cli.parse([*name.split(), *shlex.split(words)])
        assert cli.name_of(options) == name
        for path in getattr(options, "imports", ()):  # a file that the reader has made by `lra new my_attention`
            assert path.name == "my_attention.py"
        for part in ("task", "variant", "name"):
            known = {"task": TASKS, "name": {*TASKS, *VARIANTS}, "variant": VARIANTS}[part]
            if value := getattr(options, part, None):
                assert {*value.split(",")} <= {*known, "all", "my_attention", "my_task"}
        assert parsed([line for line in getattr(options, "gin", ()) if not line.startswith("my_attention")]) is not None


def test_help_lists_the_commands_in_their_order(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    shown = re.findall(r"^    ([a-z-]+)(?:  |$)", capsys.readouterr().out, re.M)
    assert shown == list(dict.fromkeys(name.split()[0] for name in ORDER))
