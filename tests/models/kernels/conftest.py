"""What the tests of all kernels need.

JAX 0.10's interpreter of GPU kernels compiles a kernel for each thread of each block; here it compiles it once.
"""

import inspect
import re

import jax
import pytest
from jax._src.pallas.mosaic.interpret import thread_map


def run(jaxpr, consts, *args):
    jax.core.eval_jaxpr(jaxpr, consts, *args)


def run_jaxpr(jaxpr, consts, *args):
    jax.jit(run, static_argnums=0).trace(jaxpr, consts, *args).lower().compile()(consts, *args)


if "def _run(" in inspect.getsource(thread_map._run_jaxpr):  # a new function each time: no cache knows it
    thread_map._run_jaxpr = run_jaxpr


@pytest.fixture(autouse=True)
def _exact_products(request):
    """XLA on an accelerator rounds the inputs of float32 products unless asked not to; kernels ignore that option."""
    if jax.default_backend() == "cpu" or "_tpu" in request.node.nodeid or "_gpu" in request.node.nodeid:
        yield
    else:
        with jax.default_matmul_precision("highest"):
            yield


@pytest.fixture
def spilled(monkeypatch, capfd):
    """The bytes of spilled registers of each kernel that is assembled from now on."""
    monkeypatch.setenv("MOSAIC_GPU_DUMP_PTXAS", "1")
    return lambda: [int(x) for x in re.findall(r"(\d+) bytes spill stores", "".join(capfd.readouterr()))]


@pytest.fixture(autouse=True)
def _no_race(capfd):
    """JAX 0.10's interpreters print the races that they find; later ones raise."""
    yield
    assert "RACE DETECTED" not in "".join(capfd.readouterr())
