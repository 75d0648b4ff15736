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
        "listops.train = 40\nlistops.validation = 10\nlistops.test = 20\n"
        "synthetic_retrieval.train = 6\nsynthetic_retrieval.validation = 3\nsynthetic_retrieval.test = 2"
    )
    yield tmp_path
    gin.clear_config()


@pytest.mark.parametrize(
    ("name", "features"), [("listops", ["inputs"]), ("synthetic_retrieval", ["inputs1", "inputs2"])]
)
def test_seqio_task_equals_prepared_task(name, features, small):
    import lra.tasks.seqio_tasks  # noqa: F401

    seqio.set_tfds_data_dir_override(str(small / "tfds"))
    task = seqio.get_mixture_or_task(f"lra_{name}")
    source = TASKS[name].source()
    lengths = dict.fromkeys(features, source.max_length) | {"targets": 1}
    for split in ("train", "validation", "test"):
        rows = task.get_dataset(lengths, split, shuffle=False).as_numpy_iterator()
        found = sorted([*(row[feature].tolist() for feature in features), row["targets"].tolist()] for row in rows)
        data = prepared.load(TASKS[name], source).splits[split]
        examples = zip(np.asarray(data.inputs), data.lengths, data.labels.tolist())
        expected = sorted(
            [*(ids[:count].tolist() for ids, count in zip(np.atleast_2d(x), np.atleast_1d(n))), [y]]
            for x, n, y in examples
        )
        assert found == expected
        assert len(found) == source.sizes[split]


def test_every_task_is_registered():
    import lra.tasks.seqio_tasks  # noqa: F401

    assert {f"lra_{name}" for name in TASKS} <= set(seqio.TaskRegistry.names())
