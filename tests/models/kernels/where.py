"""Where the tests of a kernel run: interpreted on a CPU, and as they are on the kernel's own device."""

import jax
import numpy as np
import pytest

from lra.errors import UsageError
from lra.models.kernels import backends
from lra.targets import device

PLATFORMS = {"mosaic_tpu": "tpu", "mosaic_gpu": "gpu"}


def interpret(backend: str) -> bool:
    """Whether a kernel has to be interpreted here; skips the test on an accelerator that is not the kernel's."""
    here = jax.devices()[0]
    if here.platform == "cpu":
        return True
    if here.platform != PLATFORMS[backend]:
        pytest.skip(f"{backend} does not run on {here.device_kind}")
    if here.platform == "gpu" and not str(here.compute_capability).startswith("9."):
        pytest.skip(f"{backend} is for Hopper, not {here.device_kind}")
    return False


def on(backend: str):
    """All that is traced inside is computed by the kernel."""
    return backends.use(backend, interpret(backend))


def at_edges(tile: int) -> np.ndarray:
    """A mask [6, 2 tile + 1] of examples whose lengths lie at the edges of tiles; one is a prime."""
    lengths = np.array([1, tile - 1, tile, tile + 1, 2 * tile + 1, 101])
    return np.arange(2 * tile + 1) < lengths[:, None]


def needs_compiler(target: str) -> None:
    """Skips the test if there is no such compiler."""
    try:
        device(target)
    except UsageError as error:
        pytest.skip(str(error))
