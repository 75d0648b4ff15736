"""What docs/ci.md shows of the gate: the workflow files are YAML, and the commands exist."""

import re
import shlex
from pathlib import Path

import pytest

from lra import cli
from lra.ci import baseline

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "ci.md").read_text()


def test_workflow_files_are_yaml_and_run_the_gate():
    yaml = pytest.importorskip("yaml")
    github, gitlab = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
    steps = [step.get("run", "") for step in github["jobs"]["gate"]["steps"]]
    for commands in (steps, gitlab["gate"]["script"]):
        assert any(command.startswith("lra ci run ") for command in commands)
    assert gitlab["gate"]["artifacts"]["reports"]["junit"] == "lra-ci.xml"


def test_the_commands_of_the_page_exist():
    calls = [line.split("#")[0] for line in re.findall(r"^(?:.*run: |\s+- |    )(lra ci .+)$", PAGE, re.MULTILINE)]
    assert len(calls) == 4
    assert {cli.parse(shlex.split(call)[1:]).action for call in calls} == {"baseline", "run"}


def test_the_projects_own_gate_has_its_baseline():
    (call,) = re.findall(r"lra (ci run .*)", (ROOT / ".ci" / "run").read_text())
    options = cli.parse(shlex.split(call))
    assert baseline.read(ROOT / options.file).variants
