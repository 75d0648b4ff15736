"""Other implementations of the same ops beside the project's own: bounds, JAX's kernels, and other libraries."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lra import settings
from lra.bench import libraries
from lra.bench.cases import Case
from lra.bench.libraries import LIBRARIES
from lra.bench.timing import Timing
from lra.errors import UsageError, unknown

PYTHONS = "LRA_PEERS"  # the environment variable of the libraries that have a Python of their own
MOST = 300  # seconds that a library in another Python may take for a case


def peers(case: Case) -> dict[str, Callable]:
    """Functions of a case's arrays that compute the same as the op, by name.

    "copy" is a bound: it only moves the same bytes.
    """
    found: dict[str, Callable] = {}
    if case.name == "softmax dense" and settings.device().platform == "tpu":
        found["splash"] = splash
    if case.name.startswith("recurrence"):
        found["copy"] = lambda x, log_a: (x + 1) * log_a  # reads and writes as many bytes as the op
    for name, python in pythons().items():
        if python is None and case.name in LIBRARIES[name].cases:
            found[name] = LIBRARIES[name].function(facts(case))
    return found


def pythons() -> dict[str, str | None]:
    """The libraries for the device at hand that are installed, by name, with the Python to run each; None is this one.

    Raises:
      UsageError: the environment variable names no library, or no file.
    """
    found: dict[str, str | None] = {}
    for name, library in LIBRARIES.items():
        if importlib.util.find_spec(library.module):
            # PyTorch and JAX do not share the memory of a device
            found[name] = sys.executable if library.torch else None
    for word in filter(None, os.environ.get(PYTHONS, "").split(",")):
        name, _, python = word.partition("=")
        if name not in LIBRARIES:
            raise unknown(f"library in {PYTHONS}", name, LIBRARIES)
        if not Path(python).is_file():
            raise UsageError(f"{PYTHONS}: {word} names no file; say {name}=/path/to/its/bin/python")
        found[name] = python
    platform = settings.device().platform
    return {name: python for name, python in found.items() if platform in LIBRARIES[name].platforms}


def facts(case: Case) -> libraries.Facts:
    return {"name": case.name, "head_dim": case.head_dim, "radius": case.radius}


def elsewhere(case: Case, direction: str, cotangent: jax.Array) -> Iterator[tuple[str, list[np.ndarray], Timing | str]]:
    """The results of libraries in other Pythons, with their time or why there is none."""
    for name, python in pythons().items():
        if python is not None and case.name in LIBRARIES[name].cases:
            with tempfile.TemporaryDirectory() as folder:
                yield name, *computed(Path(folder), python, name, case, direction, cotangent)


def computed(
    folder: Path, python: str, name: str, case: Case, direction: str, cotangent: jax.Array
) -> tuple[list[np.ndarray], Timing | str]:
    """What a library in another Python gives. Arrays go by files."""
    arrays = (*case.args, cotangent)
    about: Mapping[str, Any] = facts(case) | {
        "library": name, "direction": direction, "types": [x.dtype.name for x in arrays],
    }  # fmt: skip
    (folder / "case.json").write_text(json.dumps(about), "utf-8")
    np.savez(folder / "arrays.npz", *(np.asarray(x, np.float32) for x in arrays))
    # this process has most of the memory; and the last line of an error is to be the error
    variables = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "JAX_TRACEBACK_FILTERING": "off"}
    try:
        done = subprocess.run(
            [python, libraries.__file__, str(folder)], env=os.environ | variables, capture_output=True,
            encoding="utf-8", timeout=MOST, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return [], f"takes more than {MOST} s"
    if done.returncode:
        return [], next(reversed(done.stderr.strip().splitlines()), f"exit code {done.returncode}")
    with np.load(folder / "results.npz") as file:
        results = [file[f"arr_{index}"] for index in range(len(file.files))]
    return results, Timing(**json.loads((folder / "times.json").read_text("utf-8")))


def splash(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """JAX's own kernel for TPU, dense. Its tiles have 512, 256 or 128 tokens, whichever divides the length."""
    from jax.experimental.pallas.ops.tpu import splash_attention as splash_

    length, heads = q.shape[1:3]
    block = next(size for size in (512, 256, 128) if length % size == 0)
    blocks = splash_.BlockSizes(
        block_q=block, block_kv=block, block_kv_compute=block, block_q_dkv=block, block_kv_dkv=block,
        block_kv_dkv_compute=block, block_q_dq=block, block_kv_dq=block,
    )  # fmt: skip
    mask = splash_.MultiHeadMask([splash_.FullMask((length, length))] * heads)
    kernel = splash_.make_splash_mha(mask, head_shards=1, q_seq_shards=1, block_sizes=blocks)
    by_heads = lambda x: x.transpose(0, 2, 1, 3)
    scaled = q * q.shape[-1] ** -0.5
    return by_heads(jax.vmap(kernel)(by_heads(scaled), by_heads(k), by_heads(v)))
