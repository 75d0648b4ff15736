"""Tables in the terminal."""

import pytest

from lra.commands.output import print_table

NAMES = ("system", "accuracy %", "parameters", "scored", "framework", "paper", "code", "note")
ADDRESS = "https://example.org/a-long-name/tree/0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"


@pytest.mark.parametrize("name", ["a_system", "a" * 64, "a" * 220])
def test_names_and_numbers_stay_whole_beside_prose_of_any_length(name, capsys):
    """A pipe has 200 columns."""
    print_table(NAMES, [[name, "37.32", "1,381,234", *["words " * 20 + ADDRESS] * 5]], numbers=True)
    lines = capsys.readouterr().out.splitlines()
    (row,) = (line.split() for line in lines if "37.32" in line)
    assert row[:3] == [name, "37.32", "1,381,234"]
    assert sum(line.count("words") for line in lines) == 100  # prose wraps
