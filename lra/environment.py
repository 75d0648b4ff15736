"""The environment of a run: hardware, package versions, commit."""

import math
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lra
from lra import settings
from lra.models.source.imports import packages_of

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def hardware(mesh: Mapping[str, int] | None = None) -> dict[str, Any]:
    """The device and the processor at hand.

    Args:
      mesh: the number of devices along each axis of the mesh that a run trains on; None where nothing trains.
    """
    device = settings.device()
    return {
        "platform": device.platform,
        "device": device.device_kind,
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
    } | ({"devices": math.prod(mesh.values()), "mesh": dict(mesh)} if mesh else {})


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions(modules: Iterable[str] = ()) -> dict[str, str]:
    """The versions of Python, lra and the packages that decide numbers.

    Args:
      modules: the top-level modules of further packages.
    """
    others = sorted({name for module in modules for name in packages_of(module)} - {*PACKAGES})
    packages = {name: version(name) for name in (*PACKAGES, *others)}
    return {"python": platform.python_version(), "lra": lra.__version__} | packages


def git() -> dict[str, Any] | None:
    """The commit of this project's code, and whether files differ from it; None outside a checkout."""
    folder = Path(lra.__file__).resolve().parent

    def ask(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, encoding="utf-8", check=True
        ).stdout.strip()

    try:
        if not ask("ls-files", "__init__.py"):
            return None  # lra is installed inside the checkout of another project
        return {
            "commit": ask("rev-parse", "HEAD"),
            "dirty": bool(ask("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.CalledProcessError):
        return None
