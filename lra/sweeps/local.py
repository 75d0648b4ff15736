"""The executor of one machine: cells run here, one after another, or several at once on their share of the machine."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from lra.errors import UserError
from lra.sweeps import process
from lra.sweeps.executor import Ended, Running, State
from lra.sweeps.job import Job

VISIBLE = {"gpu": "CUDA_VISIBLE_DEVICES", "rocm": "ROCR_VISIBLE_DEVICES", "tpu": "TPU_VISIBLE_CHIPS"}


@dataclasses.dataclass(frozen=True)
class Local:
    """Runs cells on this machine. One at a time has all of it; of several, each has its share of accelerators or cores.

    With more cells at once than accelerators, several share one and its memory.
    """

    def session(self, jobs_at_once: int | None) -> "LocalSession":
        """Begins to work; arguments and errors as for `Executor`."""
        slots = jobs_at_once or 1
        there = hardware()
        parts = shares(slots, there) if slots > 1 else [Share()]
        cores = {"cores": len(parts[0].cores)} if parts[0].cores else {}
        return LocalSession(parts, there | cores | {"devices": max(1, there["devices"] // slots)})


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of the machine that a cell has: environment variables, and cores; without any it has all."""

    variables: dict[str, str] = dataclasses.field(default_factory=dict)
    cores: tuple[int, ...] = ()


def shares(count: int, there: Mapping[str, Any]) -> list[Share]:
    """The machine in as many parts as cells run at once.

    Args:
      there: the machine's hardware.
    """
    platform, devices = there["platform"], there["devices"]
    cores = sorted(os.sched_getaffinity(0))
    parts = [tuple(cores[place::count]) or (cores[place % len(cores)],) for place in range(count)]
    if platform not in VISIBLE:
        return [Share(cores=part) for part in parts]
    many = -(-count // devices)  # cells on one accelerator
    fraction = {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 / many:.2f}"} if many > 1 else {}
    own = [range(place % devices, devices, count) if count < devices else [place % devices] for place in range(count)]
    return [Share({VISIBLE[platform]: ",".join(map(str, mine))} | fraction, part) for mine, part in zip(own, parts)]


def hardware() -> dict[str, Any]:
    """The hardware of this machine as JAX sees it. A process of its own asks, so that the accelerators stay free."""
    script = (
        "import jax, json; from lra.environment import hardware;"
        "print(json.dumps(hardware({'data': len(jax.local_devices())})))"
    )
    call = [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {script}"]
    asked = subprocess.run(call, capture_output=True, encoding="utf-8", check=False)
    if asked.returncode:
        reason = ([line for line in asked.stderr.splitlines() if line.strip()] or ["?"])[-1]
        raise UserError(f"JAX finds no device here ({reason:.200}); say JAX_PLATFORMS=cpu for the CPU")
    return json.loads(asked.stdout.splitlines()[-1])


class LocalSession:
    """The processes of some cells on this machine; attributes and methods as for `Session`."""

    def __init__(self, parts: Sequence[Share], there: Mapping[str, Any]):
        self.slots: int | None = len(parts)
        self.hardware: Mapping[str, Any] | None = there
        self.free = [*parts]
        self.running: dict[str, tuple[subprocess.Popen[bytes], Share]] = {}
        self.ended: dict[str, Ended] = {}

    def submit(self, jobs: Sequence[Job]) -> list[str]:
        names = []
        for job in jobs:
            share = self.free.pop(0)
            try:
                started = process.start(job, share.variables, share.cores)
            except OSError as error:
                raise UserError(
                    f"no process can be started here ({error.strerror}); free memory or processes"
                ) from error
            names.append(str(started.pid))
            self.running[names[-1]] = started, share
        return names

    def ask(self, names: Sequence[str]) -> dict[str, State]:
        for name, (started, share) in [*self.running.items()]:
            if (code := started.poll()) is not None:
                if started.stdin:
                    with contextlib.suppress(OSError):
                        started.stdin.close()
                self.ended[name] = Ended(code)
                self.free.append(share)
                del self.running[name]
        return {name: self.ended.get(name, Running("here")) for name in names}

    def cancel(self, names: Sequence[str]) -> None:
        for name in names:
            if name in self.running:
                self.running[name][0].terminate()

    def close(self) -> None:
        for started, _ in self.running.values():
            started.kill()
            started.wait()
