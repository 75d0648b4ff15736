"""The commands as they are registered: each with a summary, help for all that it takes, and its place in the help."""

import argparse
import re

import pytest

from lra import cli
from lra.commands import COMMANDS, GROUPS, ORDER
from lra.commands.command import REGISTERED


def is_sentence(text: str) -> bool:
    return text[:1].isupper() and text.endswith(".")


def test_each_name_is_registered_once_and_all_of_them_are_commands():
    assert sorted(command.name for command in REGISTERED) == sorted(ORDER)
    assert tuple(COMMANDS) == ORDER
    assert {name.split()[0] for name in COMMANDS if " " in name} == set(GROUPS)
    assert all(is_sentence(summary) for summary in GROUPS.values())


@pytest.mark.parametrize("name", ORDER)
def test_a_command_has_a_summary_a_function_and_help_for_every_argument(name):
    assert is_sentence(COMMANDS[name].summary)
    assert callable(COMMANDS[name].run)
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


def test_help_lists_the_commands_in_their_order(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    shown = re.findall(r"^    ([a-z]+)(?:  |$)", capsys.readouterr().out, re.M)
    assert shown == list(dict.fromkeys(name.split()[0] for name in ORDER))
