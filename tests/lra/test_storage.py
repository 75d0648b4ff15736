"""Results in a storage of objects: tried against a local server of S3's protocol."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import SMALL, SMALL_DATA, bindings, lra, resolved
from sweeps import storm

from lra import claims, files
from lra.errors import UsageError, UserError
from lra.execution import execute
from lra.interrupt import Interrupted
from lra.leaderboard import store
from lra.runs import runs_in
from lra.storage import path_of
from lra.tasks import prepared
from lra.tasks.prepared import load

pytest.importorskip("s3fs")
moto = pytest.importorskip("moto.server")


@pytest.fixture
def bucket(monkeypatch):
    import boto3
    import fsspec

    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    forget(fsspec)
    boto3.client("s3").create_bucket(Bucket="arena")
    yield path_of("s3://arena/results")
    server.stop()
    forget(fsspec)


def forget(fsspec):
    """A file system keeps the address of its server."""
    from etils.epath import backend

    backend.fsspec_backend._get_filesystem.cache_clear()
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_an_address_is_told_from_a_folder(tmp_path):
    assert path_of(str(tmp_path)) == tmp_path
    assert str(path_of("s3://arena/results") / "records") == "s3://arena/results/records"
    for wrong in ("http://arena/x", "s3://"):
        with pytest.raises(UsageError, match="no place for files"):
            path_of(wrong)


def test_of_several_writers_one_makes_the_object(bucket):
    path = bucket / "claims" / "run.1.json"
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda number: files.create(path, f"{number}"), range(4)))
    assert sum(made) == 1
    assert path.read_bytes() == str(made.index(True)).encode()


def test_a_write_that_fails_leaves_the_old_object(bucket, monkeypatch):
    path = bucket / "object"
    files.write_atomically(path, "old")

    def cut(*_, **__):
        raise OSError("cut")

    monkeypatch.setattr(path.files, "pipe_file", cut)
    with pytest.raises(UserError, match=r"failed \(OSError: cut\); nothing half-written"):
        files.write_atomically(path, "new")
    assert path.read_bytes() == b"old"


def test_without_the_bucket_the_error_names_it(bucket):
    with pytest.raises(UserError, match="there is no bucket 'nowhere'"):
        files.check_writable(path_of("s3://nowhere/results/records/x"))


@pytest.mark.parametrize(("key", "says"), [("a", "Could not connect"), (None, "Unable to locate credentials")])
def test_a_storage_that_does_not_let_us_in_is_one_line(bucket, tmp_path, monkeypatch, key, says):
    import fsspec

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, key) if key else monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    forget(fsspec)
    with pytest.raises(UserError, match=rf"s3://arena/results/x failed .*{says}.*; nothing half-written") as caught:
        files.check_writable(bucket / "x")
    assert "\n" not in str(caught.value)


def test_without_its_package_a_storage_says_what_to_install(monkeypatch):
    import fsspec

    forget(fsspec)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)  # of an earlier test
    with pytest.raises(UserError, match=r"s3://arena/x needs the package s3fs, .* pip install"):
        files.check_writable(path_of("s3://arena/x"))


def test_a_run_that_was_stopped_goes_on_from_the_storage(bucket, home):
    plan = resolved("listops", "local", "demo", overrides=SMALL)
    data = load(plan.task, plan.source)

    class After:
        """Stops the run at the second look."""

        looks = 0

        def is_set(self):
            self.looks += 1
            return self.looks > 1

    with pytest.raises(Interrupted):
        execute(plan, data, bucket, stop=After(), kernels="xla")
    ((stopped,), _) = runs_in(bucket)
    assert (stopped.task, stopped.variant) == ("listops", "local")
    assert stopped.status.startswith("stopped at step ")
    record = execute(plan, data, bucket, kernels="xla")
    ((done,), left_out) = runs_in(bucket)
    assert (done.status, done.run, left_out) == ("ok", record.run, [])
    moved = store.put_away(done.record, bucket)
    assert store.find(bucket, record.run) is None
    assert moved.is_file()


def test_a_prepared_task_is_fetched_from_the_storage_and_compared_with_its_hashes(bucket, tmp_path, monkeypatch):
    from lra.recipe import task_and_source

    monkeypatch.setenv("LRA_HOME", str(bucket))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    task, source = task_and_source("listops", "demo", SMALL_DATA)
    assert prepared.prepare(task, source)
    name = prepared.folder_of(task, source).name
    assert (bucket / "tasks" / name / "manifest.json").exists()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    assert not prepared.prepare(task, source)
    assert prepared.folder_of(task, source) == tmp_path / "another" / "lra" / "tasks" / name
    there = prepared.load(task, source)
    assert len(there.splits["train"]) == 203
    assert sorted(path.name for path in (tmp_path / "another" / "lra" / "tasks").iterdir()) == [name]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "third"))
    (bucket / "tasks" / name / "test.labels.npy").put(b"damaged")
    with pytest.raises(UserError, match=r"test\.labels\.npy is damaged"):
        prepared.load(task, source)


@pytest.mark.slow
def test_a_sweep_on_a_storage_records_each_cell_once(bucket, home, monkeypatch):
    monkeypatch.setenv("LRA_HOME", str(home))
    cells = ["--tasks", "listops", "--variants", "local", "--protocols", "demo", "--seeds", "0", "1", *bindings(*SMALL)]
    both = [subprocess.Popen(storm.command(cells, bucket), stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [one.communicate(timeout=200)[1] for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    records, left_out = store.load([bucket])
    assert (len(records), left_out) == (2, [])
    assert claims.look(bucket) == {}
    logs = [(bucket / "runs" / f"{record.run}.log").read_text() for record in records]
    assert [log.count(" to train, ") for log in logs] == [1, 1]
    assert "2 done" in lra("sweep", "status", "--results", bucket).stdout
