"""Compiles for TPU v4 to v6e and NVIDIA Hopper without the hardware, and for CPUs.

The real compilers are used: they refuse the same kernels and report the same memory as on the hardware. Nothing is run,
so speed and results are not known.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import jax
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from lra.errors import UsageError

TPUS = {"v4": "v4:2x2x1", "v5e": "v5e:2x2", "v5p": "v5p:2x2x1", "v6e": "v6e:2x2"}
TARGETS = (*TPUS, "hopper", "cpu")
# by target: the options of its compiler. XLA chooses the tiles of Triton's products by timing them on the device, and
# without one the compilation of some programs ends with an error.
OPTIONS = {"hopper": {"xla_gpu_enable_triton_gemm": False}}
HOPPER_BYTES = 150_000_000_000  # of memory; the compiler does not refuse a program that needs more

# The description of an H200 for XLA, in text format (xla/stream_executor/device_description.proto).
HOPPER = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_core: 233472 shared_memory_per_block_optin: 232448
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 4800000000000 l2_cache_size: 52428800 device_memory_size: 150000000000
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  cuda_compute_capability { major: 9 minor: 0 }
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 }
device_description_str: "NVIDIA H200"
"""


@cache
def device(target: str) -> Any:
    """A description of a target's device, for its compiler.

    Args:
      target: one of TARGETS.

    Raises:
      UsageError: the target is unknown, or its compiler is not installed.
    """
    if target not in TARGETS:
        raise UsageError(f"target '{target}' is none of {', '.join(TARGETS)}")
    # otherwise libtpu asks a metadata server for its hardware, and locks out other processes
    for name, value in {
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": "v5p-8",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    }.items():
        os.environ.setdefault(name, value)
    try:
        if target == "cpu":
            return jax.devices("cpu")[0]
        if target in TPUS:
            return topologies.get_topology_desc(platform="tpu", topology_name=TPUS[target]).devices[0]
        return topologies.get_topology_desc(
            platform="cuda", topology_name="", topology="1x1x1", target_config=HOPPER
        ).devices[0]
    except Exception as error:
        raise UsageError(
            f"no compiler for '{target}' here: pip install {' or '.join(packages(target))} ({error})"
        ) from None


@contextlib.contextmanager
def without_flags() -> Iterator[None]:
    """XLA_FLAGS is not set. libtpu reads it at its first compilation, and ends the process at a flag that it does not
    know.
    """
    jax.jit(lambda: 0)()  # the compiler of this process's own device has read them before
    flags = os.environ.pop("XLA_FLAGS", None)
    try:
        yield
    finally:
        if flags is not None:
            os.environ["XLA_FLAGS"] = flags


def installed() -> list[str]:
    """The targets whose compiler is installed."""

    def is_there(target: str) -> bool:
        try:
            device(target)
        except UsageError:
            return False
        return True

    return [target for target in TARGETS if is_there(target)]


def packages(target: str) -> tuple[str, ...]:
    """The packages of which one has a target's compiler."""
    if target == "cpu":
        return ("jaxlib",)
    return ("libtpu",) if target in TPUS else ("jax-cuda12-plugin", "jax-cuda13-plugin")


def compile_for(
    target: str, function: Callable, *args: jax.ShapeDtypeStruct, donated: Sequence[int] = ()
) -> jax.stages.Compiled:
    """Compiles a function for a target.

    >>> compile_for("v5e", jnp.sin, jax.ShapeDtypeStruct((8, 128), jnp.float32)).as_text()  # doctest: +SKIP

    Args:
      args: the shapes and types of the function's arguments.
      donated: the places of those whose memory the results may take.

    Returns:
      the compiled program: `memory_analysis()` has bytes, `as_text()` the optimised HLO.

    Raises:
      UsageError: as `device`.
    """
    target_device = device(target)
    place = SingleDeviceSharding(target_device)
    placed = [jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place) for x in args]
    platform = "tpu" if target in TPUS else "cuda" if target == "hopper" else "cpu"
    mesh = jax.sharding.AbstractMesh((), (), abstract_device=abstract(target_device, platform))
    with jax.sharding.use_abstract_mesh(mesh):  # the lowering of some primitives depends on the device
        lowered = jax.jit(function, donate_argnums=donated).trace(*placed).lower(lowering_platforms=(platform,))
    with without_flags() if target in TPUS else contextlib.nullcontext():
        return lowered.compile(OPTIONS.get(target))


def abstract(target_device: Any, platform: str) -> jax.sharding.AbstractDevice:
    cores = getattr(target_device, "num_cores", None) or 1
    return jax.sharding.AbstractDevice(device_kind=target_device.device_kind, num_cores=cores, platform=platform)
