"""The seqio Task has the examples of the prepared task."""

import dataclasses
import functools

import numpy as np
import pytest

from lra.tasks import TASKS, prepared

seqio = pytest.importorskip("seqio")
tfds = pytest.importorskip("tensorflow_datasets")


SMALL = {
    "listops": dict(min_length=3, max_length=30, train=40, validation=10, test=20),
    "synthetic_retrieval": dict(train=6, validation=3, test=2),
    "hops": dict(cells=8, chains=2, trained=1, train=6, validation=3, test=2),
}


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    return tmp_path


def registered(name, label, **parameters):
    """A task with a name of its own and other parameters, registered for seqio."""
    from lra.tasks.seqio_tasks import register

    original = TASKS[name]
    task = dataclasses.replace(original, name=label, source=functools.partial(original.source, **parameters))
    if f"lra_{label}" not in seqio.TaskRegistry.names():
        register(task)
    return task


@pytest.mark.parametrize(
    ("name", "features"),
    [("listops", ["inputs"]), ("synthetic_retrieval", ["inputs1", "inputs2"]), ("hops", ["inputs"])],
)
def test_seqio_task_equals_prepared_task(name, features, small):
    own = registered(name, f"{name}_small", **SMALL[name])
    seqio.set_tfds_data_dir_override(str(small / "tfds"))
    task = seqio.get_mixture_or_task(f"lra_{own.name}")
    source = own.source()
    lengths = dict.fromkeys(features, source.max_length) | {"targets": source.max_length if own.per_token else 1}
    for split in ("train", "validation", "test"):
        rows = [*task.get_dataset(lengths, split, shuffle=False).as_numpy_iterator()]
        from_seqio = sorted([*(row[feature].tolist() for feature in features), row["targets"].tolist()] for row in rows)
        data = prepared.load(own, source).splits[split]
        examples = zip(np.asarray(data.inputs), data.lengths, data.labels.tolist())
        expected = sorted(
            [
                *(ids[:count].tolist() for ids, count in zip(np.atleast_2d(x), np.atleast_1d(n))),
                np.atleast_1d(y).tolist(),
            ]
            for x, n, y in examples
        )
        assert from_seqio == expected
        for row in rows:  # the index says which example it is
            tokens = np.atleast_2d(data.inputs[row["index"]])[0, : len(row[features[0]])]
            assert row[features[0]].tolist() == tokens.tolist()
            assert row["targets"].tolist() == np.atleast_1d(data.labels[row["index"]])[: len(row["targets"])].tolist()
        assert sorted(row["index"] for row in rows) == [*range(len(data))]
        assert len(from_seqio) == source.sizes[split]


def test_a_task_prepared_from_files_is_read(small):
    """It is not made again, and not asked for from a source that does not have it."""
    task = registered("listops", "listops_read", min_length=3, max_length=30, train=2, validation=1, test=1)
    for name, rows in {
        "train": ["[MAX 4 3 ]\t4", "[MIN 2 [SM 9 3 ] ]\t2"],
        "val": ["[SM 8 9 ]\t7"],
        "test": ["[MED 1 3 ]\t2"],
    }.items():
        (small / f"basic_{name}.tsv").write_text("\n".join(["Source\tTarget", *rows, ""]))
    prepared.prepare(task, task.source(), read_from=small)
    builder = tfds.builder(f"lra_{task.name}", data_dir=str(small / "tfds"))
    builder.download_and_prepare()
    assert sorted(row["targets"].item() for row in tfds.as_numpy(builder.as_dataset(split="train"))) == [2, 4]


def test_every_task_is_registered():
    import lra.tasks.seqio_tasks  # noqa: F401

    assert {f"lra_{name}" for name in TASKS} <= set(seqio.TaskRegistry.names())
