"""What the README shows works as shown."""

import re
from pathlib import Path

from conftest import SMALL, bindings, lra

from lra import template
from lra.checks import CHECKS
from lra.models.attention import VARIANTS

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()


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


def test_the_tables_in_the_readme_have_every_variant_and_check():
    for table, names in (("## Variants", VARIANTS), ("### What is checked", CHECKS)):
        rows = re.findall(r"^\| ([\w ]+) \|", README.split(table)[1].split("\n#")[0], re.M)
        assert sorted(rows[1:]) == sorted(names)  # the first is the header
