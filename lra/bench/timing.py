"""Times functions for a comparison. They take turns, each in a loop that runs on the device."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

ROUNDS = 5
LEAST = 0.05  # the least seconds of a loop; in shorter ones the time of launching would matter
Run = Callable[[int], Any]  # repeats something n times; returns arrays to wait for


class Timing(NamedTuple):
    """Seconds of one repetition: the median of the rounds, and half of the range."""

    seconds: float
    spread: float


def in_turns(runs: Mapping[str, Run], rounds: int = ROUNDS) -> dict[str, Timing]:
    """The time of one repetition of each run.

    Each run is timed with n and with 2n repetitions. The difference divided by n excludes the time of launching. The
    runs take turns, so that a change of the clock frequency affects all of them.
    """
    counts = {name: enough(run) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            n = counts[name]
            times[name].append((seconds(run, 2 * n) - seconds(run, n)) / n)
    return {name: Timing(float(np.median(own)), (max(own) - min(own)) / 2) for name, own in times.items()}


def seconds(run: Run, n: int, clock: Callable[[], float] | None = None) -> float:
    """The seconds of n repetitions on a clock; wall-clock time by default."""
    clock = clock or time.perf_counter
    start = clock()
    jax.block_until_ready(run(n))
    return clock() - start


def enough(run: Run) -> int:
    """How many repetitions take at least LEAST seconds. This compiles and warms up the run."""
    seconds(run, 1)
    n = 1
    while (took := seconds(run, n)) < LEAST and n < 1 << 16:
        n = min(16 * n, max(2 * n, int(n * LEAST / max(took, 1e-6))))
    return n


def repeated(function: Callable, args: tuple[Any, ...]) -> Run:
    """A run that calls a function n times in one program. Each call depends on the result of the previous one.

    Args:
      args: the arguments of the function: arrays, the first one with floating-point or complex numbers.
    """

    @jax.jit
    def loop(n: jax.Array, args: tuple[Any, ...]) -> jax.Array:
        def body(_: jax.Array, first: jax.Array) -> jax.Array:
            # without the barrier XLA would compute only the elements that are read
            out = lax.optimization_barrier(function(first, *args[1:]))
            touched = jnp.stack([jnp.real(leaf.ravel()[0]).astype(jnp.float32) for leaf in jax.tree.leaves(out)])
            corner = (0,) * first.ndim
            return first.at[corner].add((1e-30 * touched.sum()).astype(first.dtype))

        return lax.fori_loop(0, n, body, args[0]).ravel()[0]

    return lambda n: loop(n, args)
