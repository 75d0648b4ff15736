"""The seqio Task has the examples of the prepared task."""

import gin
import numpy as np
import pytest

from lra.tasks import TASKS, prepared

seqio = pytest.importorskip("seqio")


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    gin.clear_config()
    gin.parse_config(
        "listops.min_length = 3\nlistops.max_length = 30\n"
        "listops.train = 40\nlistops.validation = 10\nlistops.test = 20"
    )
    yield tmp_path
    gin.clear_config()


def test_seqio_task_equals_prepared_task(small):
    import lra.tasks.seqio_tasks  # noqa: F401

    seqio.set_tfds_data_dir_override(str(small / "tfds"))
    task = seqio.get_mixture_or_task("lra_listops")
    source = TASKS["listops"].source()
    for split in ("train", "validation", "test"):
        rows = task.get_dataset({"inputs": 30, "targets": 1}, split, shuffle=False).as_numpy_iterator()
        found = sorted((row["inputs"].tolist(), row["targets"].tolist()) for row in rows)
        data = prepared.load(TASKS["listops"], source).splits[split]
        expected = sorted((x[:n].tolist(), [y]) for x, n, y in zip(np.asarray(data.inputs), data.lengths, data.labels))
        assert found == expected
        assert len(found) == source.sizes[split]
