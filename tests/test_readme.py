"""What the README shows works as shown."""

import re
from pathlib import Path

from conftest import SMALL, bindings, lra

ROOT = Path(__file__).resolve().parents[1]


def test_the_variant_in_the_readme_goes_from_training_to_its_row(home, tmp_path):
    readme = (ROOT / "README.md").read_text()
    (code,) = re.findall(r"```python\n(# my_attention\.py\n.*?)```", readme, re.S)
    assert len(code.splitlines()) <= 15
    (command,) = re.findall(r"lra run --import my_attention\.py (.*)\n", readme)
    (tmp_path / "my_attention.py").write_text(code)
    words = ["run", "--import", "my_attention.py", *command.split()]
    done = lra(*words, *bindings(*SMALL), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = lra("leaderboard", cwd=tmp_path)
    assert re.search(r"^ *mine +\d+\.\d\d", table.stdout, re.M), table.stdout


def test_the_table_in_the_readme_has_every_variant():
    from lra.models.attention import VARIANTS

    readme = (ROOT / "README.md").read_text()
    for name in ("transformer", "local", "linear", "performer", "linformer", "dilated"):
        assert name in VARIANTS
        assert re.search(rf"^\| {name} \|", readme, re.M), name
