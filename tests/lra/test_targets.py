"""Compilers for accelerators that this machine does not have."""

import jax
import jax.numpy as jnp
import pytest

from lra.errors import UsageError
from lra.targets import TARGETS, compile_for, device


def test_an_unknown_target_names_those_there_are():
    with pytest.raises(UsageError, match=r"v9.*none of v4.*hopper"):
        device("v9")


def test_a_compiler_that_is_not_installed_is_one_line_with_the_way_out(monkeypatch):
    def missing(**_):
        raise RuntimeError("no plugin\nat all")

    monkeypatch.setattr("jax.experimental.topologies.get_topology_desc", missing)
    device.cache_clear()
    try:
        with pytest.raises(UsageError, match=r"pip install libtpu \(no plugin at all\)"):
            device("v4")
        with pytest.raises(UsageError, match="pip install jax-cuda"):
            device("hopper")
    finally:
        device.cache_clear()


@pytest.mark.compilers
@pytest.mark.parametrize("target", TARGETS)
def test_the_compiler_tells_the_memory_of_a_program(target):
    try:
        device(target)
    except UsageError as error:
        pytest.skip(str(error))
    x = jax.ShapeDtypeStruct((512, 256), jnp.float32)
    memory = compile_for(target, lambda x, y: (x * y, x.sum()), x, x).memory_analysis()
    assert memory.argument_size_in_bytes == 2 * 512 * 256 * 4
    assert memory.output_size_in_bytes >= 512 * 256 * 4
