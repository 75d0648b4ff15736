"""The frequency at which the device computes just now."""

import statistics
import subprocess
from pathlib import Path

from lra import settings

NVIDIA = ("nvidia-smi", "--query-gpu=clocks.sm", "--format=csv,noheader,nounits")


def clock_mhz() -> float | None:
    """The mean frequency of the processor's cores, or that of the first NVIDIA GPU, in MHz; None if it is not known."""
    try:
        if settings.device().platform == "cpu":
            lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
            return statistics.mean(float(line.split(":")[1]) for line in lines if line.startswith("cpu MHz"))
        out = subprocess.run(NVIDIA, capture_output=True, encoding="utf-8", check=True, timeout=10).stdout
        return float(out.splitlines()[0])
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return None
