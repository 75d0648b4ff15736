"""The README is short, and what it shows works as shown. tests/test_docs.py has its links."""

import re
from pathlib import Path

import pytest
from conftest import SMALL, bindings, lra

from lra import __version__, template
from lra.recipe import protocols

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.slow
def test_the_ten_minutes_go_from_nothing_to_a_row(home, tmp_path):
    (commands,) = re.findall(r"```sh\n(lra new my_attention\n.*?)```", README, re.S)
    new, check, run, leaderboard = (line.split()[1:] for line in commands.splitlines())
    for words in (new, check, [*run, *bindings(*SMALL)]):
        done = lra(*words, cwd=tmp_path, XLA_FLAGS="")  # otherwise the row's label would name the tests' own flags
        assert done.returncode == 0, done.stderr
    table = lra(*leaderboard, cwd=tmp_path)
    assert re.search(r"^ *my_attention +own +\d+\.\d\d", table.stdout, re.M), table.stdout


def test_the_file_in_the_readme_is_what_lra_new_writes():
    (code,) = re.findall(r"```python\n(# CHANGE.*?)```", README, re.S)
    assert code == template.variant("my_attention")
    assert len(code.splitlines()) <= 20


def test_it_is_short():
    """Who reads it for the first time finds everything again."""
    assert len(README.splitlines()) <= 150
    assert max(map(len, README.splitlines())) <= 120


def test_the_protocols_in_the_readme_are_all():
    assert re.findall(r"^\| `(\w+)` \|", README, re.M) == protocols()


def test_what_is_cited_is_this_version():
    assert f"version = {{{__version__}}}" in README
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
