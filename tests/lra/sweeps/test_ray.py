"""The executor of Ray, on a cluster of three nodes of this machine."""

import importlib.util
import os
import sys
import threading
from pathlib import Path

import pytest
from conftest import SMALL

from lra.errors import UserError
from lra.spec import RunSpec
from lra.sweeps import ray as executor
from lra.sweeps.cell import cells_of
from lra.sweeps.executor import Ended
from lra.sweeps.ray import Ray
from lra.sweeps.sweep import DONE, Sweep
from sweeps import stand_in

needs_ray = pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray is not installed")


@pytest.fixture(autouse=True)
def _loopback(monkeypatch):
    monkeypatch.setenv(*executor.LOOPBACK)  # before Ray is imported


def test_without_its_package_ray_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'long-range-arena\[ray\]'"):
        Ray("127.0.0.1:1").session(None)


@needs_ray
@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nobody.invalid:6379", "127.0.0.1:port", "name"]
)
def test_a_cluster_that_is_not_there_is_one_line(address):
    with pytest.raises(UserError, match=r"no Ray cluster answers at .* 'ray start --head'"):
        Ray(address).session(None)


@pytest.mark.parametrize("options", [{"gpus": 1.5}, {"gpus": -1}, {"cpus": 0}, {"tpus": -1}])
def test_a_cell_needs_something_that_can_be_given(options):
    with pytest.raises(UserError, match="gpus="):
        Ray(**options).session(None)


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setattr(executor.RaySession, "start", staticmethod(stand_in.start))
    ray.cloudpickle.register_pickle_by_value(stand_in)
    here = {"node_ip_address": "127.0.0.1", "object_store_memory": 80 << 20}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False, **here})
    yield made, [made.add_node(num_cpus=2, **here) for _ in range(2)]
    ray.cloudpickle.unregister_pickle_by_value(stand_in)
    ray.shutdown()
    made.shutdown()


def sweep_of(results: Path, count: int, seconds: float = 3) -> Sweep:
    (results / "records").mkdir()
    cells = cells_of([RunSpec("listops", "local", "demo", (seed,), tuple(SMALL)) for seed in range(count)])
    return Sweep(cells, results, kernels=f"{seconds}")


@needs_ray
@pytest.mark.slow
def test_a_lost_node_loses_no_cell_and_trains_none_twice(home, cluster, tmp_path):
    (made, others), sweep = cluster, sweep_of(tmp_path, 10)
    with pytest.raises(UserError, match="no node of the Ray cluster has 1 GPU and 1 CPU; the nodes have: 2 CPU"):
        Ray(made.address, gpus=1).session(None)
    session = Ray(made.address).session(None)
    assert session.slots == 6
    said, removed = [], []
    sweep.say = said.append

    def remove(sweep):
        began = stand_in.notes(tmp_path, "began") if (tmp_path / "notes").exists() else []
        if not removed and len(began) == 6:  # all nodes are at work
            made.remove_node(others[0], allow_graceful=False)
            removed.append(others[0])

    sweep.run(session, threading.Event(), remove)
    session.close()
    assert removed
    assert [entry.state for entry in sweep.entries] == [DONE] * 10
    assert sorted(stand_in.notes(tmp_path, "ended")) == sorted(entry.cell.run for entry in sweep.entries)
    assert 1 <= len(stand_in.notes(tmp_path, "began")) - 10 <= 2  # those of the lost node, a second time
    assert said


@needs_ray
@pytest.mark.slow
def test_cancelled_cells_stop_and_those_that_wait_are_dropped(home, cluster, tmp_path):
    made, _ = cluster
    sweep = sweep_of(tmp_path, 8, seconds=100)
    session = Ray(made.address).session(8)
    stop = threading.Event()

    def cancel(sweep):
        if (tmp_path / "notes").exists() and len(stand_in.notes(tmp_path, "began")) == 6:
            stop.set()

    sweep.run(session, stop, cancel)
    states = session.ask([*session.jobs])
    session.close()
    assert len(stand_in.notes(tmp_path, "began")) == 6
    assert stand_in.notes(tmp_path, "ended") == []
    assert {*states.values()} == {Ended(130)}
