"""The devices do not change a run: what comes of it is the same on 1, 2, 4 and 8 of them, up to rounding."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lra import settings
from lra.placement import placement_of


class Device:
    """Stands for a device."""


@given(seeds=st.integers(1, 12), batch=st.integers(1, 64), devices=st.integers(1, 16))
def test_the_mesh_keeps_as_many_devices_busy_as_share_seeds_and_batch_evenly(seeds, batch, devices):
    shapes = [
        (spread, share)
        for spread in range(1, devices + 1)
        for share in range(1, devices + 1)
        if seeds % spread == 0 and batch % share == 0 and spread * share <= devices
    ]
    busiest = max(spread * share for spread, share in shapes)
    expected = max(shape for shape in shapes if shape[0] * shape[1] == busiest)
    placement = placement_of(seeds, batch, [Device() for _ in range(devices)])
    assert tuple(placement.sizes.values()) == expected


def test_the_mesh_in_words():
    placement = placement_of(3, 32, [Device() for _ in range(3)])
    assert placement.words(3) == "3 devices, 3 for the seeds x 1 for the batch"
    assert placement.words(4) == "3 of 4 devices, 3 for the seeds x 1 for the batch"


def test_how_many_devices_are_simulated_is_no_setting_of_a_run():
    assert settings.from_outside({"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}) == ()


@pytest.fixture(scope="module", params=["transformer", pytest.param("s5", marks=pytest.mark.release)])
def outcomes(request, small_home):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    here = Path(__file__).parent
    paths = os.pathsep.join(filter(None, [str(here.parent), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": paths, "LRA_HOME": str(small_home)}
    words = [sys.executable, str(here / "on_devices.py"), request.param]
    done = subprocess.run(words, env=environment, capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_losses_do_not_depend_on_the_devices(outcomes):
    """Their order of examples is the same: the losses of each step's examples are."""
    single = outcomes["1"]
    assert len(single["train"]) == 3
    assert len(single["validation"]) == 2
    for name, other in outcomes.items():
        assert other["run"] == single["run"], name
        for losses in ("train", "validation", "test"):
            np.testing.assert_allclose(other[losses], single[losses], rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_all_devices_are_used_and_named(outcomes):
    meshes = {"1": (1, 1), "2": (2, 1), "4": (2, 2), "8": (2, 4)}
    for name, shape in meshes.items():
        assert tuple(outcomes[name]["mesh"].values()) == shape
        assert outcomes[name]["devices"] == int(name)
        assert outcomes[name]["type"] == "float32"
    bytes_of_a_step = [outcomes[name]["step"] for name in meshes]
    assert bytes_of_a_step == sorted(bytes_of_a_step, reverse=True), "each device holds its own share"


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_devices(outcomes):
    assert outcomes["8, then 1"]["devices"] == 1
    assert outcomes["8, then 1"]["earlier"] == [8]
