"""The time of a train step as a ratio to the Transformer's. Each process gives one ratio."""

import contextlib
import functools
import io
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from msgspec import structs

from lra import settings
from lra.bench.timing import Run, seconds
from lra.bench.variants import BASE
from lra.ci.baseline import Workload
from lra.ci.quantities import steps_of
from lra.errors import UserError
from lra.workers import in_order

LEAST = 0.01  # the least seconds of a measurement


def clock() -> Callable[[], float]:
    """The clock that measures how long a step uses the device.

    On a CPU it is the CPU time of this process. Unlike wall-clock time it does not grow when other processes run.
    """
    return time.process_time if settings.device().platform == "cpu" else time.perf_counter


def ratios(base: Run, runs: Mapping[str, Run], pairs: int, clock: Callable[[], float]) -> dict[str, float]:
    """The time of each run as a ratio to the base's time: the median over pairs of adjacent measurements.

    There are many short pairs instead of a few long ones, so that disturbances affect both sides alike. The order
    inside a pair alternates, so that the state of the caches favours neither side.

    Args:
      pairs: the number of pairs for each run.
      clock: gives seconds.
    """
    counts = {name: enough(run, clock) for name, run in runs.items()}
    of_base = enough(base, clock)
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(pairs):
        for name, run in runs.items():
            if turn % 2:
                own, other = seconds(run, counts[name], clock), seconds(base, of_base, clock)
            else:
                other, own = seconds(base, of_base, clock), seconds(run, counts[name], clock)
            samples[name].append(own / counts[name] / (other / of_base))
    return {name: float(np.median(values)) for name, values in samples.items()}


def enough(run: Run, clock: Callable[[], float]) -> int:
    """How many repetitions take at least LEAST seconds. This warms up the run."""
    seconds(run, 1)
    return max(1, round(LEAST / max(min(seconds(run, 1, clock) for _ in range(3)), 1e-6)))


def in_this_process(names: Sequence[str], workload: Workload, overrides: Sequence[str]) -> dict[str, float]:
    """The ratio of each variant. A variant that cannot be built is left out; its other quantities report the error."""
    base = steps_of(BASE, workload, overrides)
    runs = {}
    for name in names:
        with contextlib.suppress(UserError):
            runs[name] = steps_of(name, workload, overrides)
    return ratios(base, runs, workload.pairs, clock())


def begin(imports: Sequence[Path], cache: str) -> None:
    """Sets up a new process.

    Args:
      imports: files that register variants.
      cache: the folder of compiled programs that the processes share; empty for none.
    """
    from lra import extension

    if cache:
        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    with contextlib.redirect_stderr(io.StringIO()):  # the command has already reported packages that are left out
        extension.load_all(imports)


def in_fresh_processes(
    names: Sequence[str], workload: Workload, overrides: Sequence[str], imports: Sequence[Path]
) -> Iterator[dict[str, float]]:
    """The ratio of each variant from one new process after the other, without end.

    The memory layout of a process changes its speed by a few per cent, so that each process is one sample. The first
    process compiles the programs for the others and is not a sample.
    """
    workloads = itertools.chain([structs.replace(workload, pairs=1)], itertools.repeat(workload))
    sample = functools.partial(in_this_process, names, overrides=overrides)
    with tempfile.TemporaryDirectory() as cache:
        samples = in_order(sample, workloads, 1, functools.partial(begin, imports, cache), fresh=True)
        next(samples)
        yield from samples
