"""The time of a training step, as a ratio to the Transformer's, one number a process."""

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

from lra.bench.timing import Run, seconds
from lra.bench.variants import BASE
from lra.ci.baseline import Workload
from lra.ci.quantities import steps_of
from lra.errors import UserError
from lra.workers import in_order

LEAST = 0.01  # seconds of half a pair


def clock() -> Callable[[], float]:
    """What a step takes of the device.

    On a CPU that is the time of this process's threads on its cores: unlike the time on the wall it does not
    grow when others use the machine.
    """
    return time.process_time if jax.default_backend() == "cpu" else time.perf_counter


def ratios(base: Run, runs: Mapping[str, Run], pairs: int, clock: Callable[[], float]) -> dict[str, float]:
    """The time of each run as a ratio to the base's: the median over pairs that are next to each other in time.

    Many short pairs see the same disturbances, a few long ones each its own. Which of a pair goes first alternates,
    so that neither always finds what the other left in the caches.
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
    """How many times are long enough to be timed; warms up."""
    seconds(run, 1)
    return max(1, round(LEAST / max(min(seconds(run, 1, clock) for _ in range(3)), 1e-6)))


def in_this_process(names: Sequence[str], workload: Workload, overrides: Sequence[str]) -> dict[str, float]:
    """The ratio of each variant; one that cannot be built has none, which its other quantities say too."""

    base = steps_of(BASE, workload, overrides)
    runs = {}
    for name in names:
        with contextlib.suppress(UserError):
            runs[name] = steps_of(name, workload, overrides)
    return ratios(base, runs, workload.pairs, clock())


def begin(imports: Sequence[Path], cache: str) -> None:
    """Begins a process: with the imported variants, and with what the processes before it have compiled."""
    from lra import extension

    if cache:
        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    with contextlib.redirect_stderr(io.StringIO()):  # what is left out was said by the command
        extension.load_all(imports)


def in_fresh_processes(
    names: Sequence[str], workload: Workload, overrides: Sequence[str], imports: Sequence[Path]
) -> Iterator[dict[str, float]]:
    """The ratio of each variant in one process after the other, without end.

    Where a process lies in memory decides a few per cent of its speed, so that one process, however often it
    repeats, is one sample. One that compiles is not timed: it would be another kind of sample.
    """
    workloads = itertools.chain([structs.replace(workload, pairs=1)], itertools.repeat(workload))
    sample = functools.partial(in_this_process, names, overrides=overrides)
    with tempfile.TemporaryDirectory() as cache:
        samples = in_order(sample, workloads, 1, functools.partial(begin, imports, cache), fresh=True)
        next(samples)
        yield from samples
