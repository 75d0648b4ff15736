"""The wheel, installed into an empty environment, works from anywhere."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


def test_wheel_in_an_empty_environment(tmp_path):
    def run(*words: object, cwd: Path = tmp_path) -> str:
        done = subprocess.run([*map(str, words)], cwd=cwd, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path / "dist", ROOT)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "env")
    run(tmp_path / "env/bin/pip", "install", "--quiet", wheel)
    lra = tmp_path / "env/bin/lra"
    assert "prepare" in run(lra, "--help")
    assert "listops" in run(lra, "tasks")
    assert "performer" in run(lra, "variants")
    small = ["--gin", "listops.train = 9", "--gin", "listops.validation = 9", "--gin", "listops.test = 9"]
    run("env", f"LRA_HOME={tmp_path}/home", lra, "prepare", "listops", "--protocol", "demo", *small)
    top = run(tmp_path / "env/bin/python", "-c", "import importlib.util as u; print([u.find_spec(n) for n in "
              "('tasks', 'models', 'leaderboard')], __import__('gin').__file__)")  # fmt: skip
    assert top.startswith("[None, None, None]")
    assert top.rstrip().endswith("gin/__init__.py")
