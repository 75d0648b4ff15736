"""A record says what was trained: the checkpoint is compared with the record and the plan."""

import json

import numpy as np
import orbax.checkpoint as ocp
import pytest
from conftest import bindings, lra

# protocol `paper` on Pathfinder has a file for linformer, and sets options of both
FEW_STEPS = [
    "pathfinder.train = 8", "pathfinder.validation = 4", "pathfinder.test = 4", "pathfinder.chunk = 16",
    "train.steps = 2", "train.batch_size = 2", "train.eval_batch_size = 4",
]  # fmt: skip


def trained_parameters(results, run: str) -> int:
    """Trainable numbers of one seed in the checkpoint of a run, read by Orbax without this project's code."""
    (folder,) = (results / "runs" / run / "checkpoint").glob("*[0-9]")
    arrays = ocp.StandardCheckpointer().restore(folder / "state")
    params = [array for name, array in arrays.items() if name.startswith("[0].params")]
    assert params
    return sum(int(np.prod(array.shape[1:])) for array in params)


@pytest.mark.slow
def test_several_variants_in_one_call_are_recorded_as_they_were_trained(tmp_path):
    """Each variant has a configuration of its own; the others do not get that of the last one."""
    here = dict(LRA_HOME=str(tmp_path / "home"))
    settings = bindings(*FEW_STEPS)
    done = lra("prepare", "pathfinder", "--protocol", "paper", *settings, **here)
    assert done.returncode == 0, done.stderr
    words = ["run", "--task", "pathfinder", "--variant", "linformer,local", "--protocol", "paper"]
    done = lra(*words, *settings, "--results", tmp_path, "--checkpoint-every", "0", **here)
    assert done.returncode == 0, done.stderr
    records = [json.loads(path.read_text()) for path in sorted((tmp_path / "records").glob("*.json"))]
    assert [record["variant"]["name"] for record in records] == ["linformer", "local"]
    for record in records:
        assert trained_parameters(tmp_path, record["run"]) == record["parameters"], record["variant"]["name"]
