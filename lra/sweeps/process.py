"""Starts the process of a cell. What ends it, a crash or too little memory, takes nothing else with it."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

from lra.sweeps.job import Job

TAKEN = 75  # the exit code of a process whose run another one trains (EX_TEMPFAIL)


def start(job: Job, variables: Mapping[str, str] | None = None, cores: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """Starts the process of a job. SIGTERM, and the end of its standard input, stop it at a checkpoint.

    Its exit code is 0 if there is a record, 1 if it failed, `TAKEN` if another process trains the run, 130 if it
    was stopped.

    Args:
      variables: environment variables beside those of this process.
      cores: the cores that it may use; empty for all.
    """
    program = f"import sys; sys.path[:] = {sys.path!r}; from lra.sweeps.worker import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | (variables or {}) | {"LRA_CORES": ",".join(map(str, cores))}, start_new_session=True,
    )  # fmt: skip
    assert process.stdin
    try:
        process.stdin.write(f"{job.to_json()}\n".encode())
        process.stdin.flush()  # it stays open: its end tells the process that this one is gone
    except BrokenPipeError:
        pass  # it has ended; its exit code says so
    return process
