"""Times functions for a comparison. They take turns, each in a loop that runs on the device."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

ROUNDS = 5
LEVEL = 0.99  # of intervals
LEAST = 0.05  # the least seconds of a loop; in shorter ones the time of launching would matter
Run = Callable[[int], Any]  # repeats something n times; returns arrays to wait for


class Timing(NamedTuple):
    """Seconds of one repetition: the median of the rounds, and half of the range."""

    seconds: float
    spread: float


class Median(NamedTuple):
    """A median with the interval in which the true one is, whatever the distribution, with a probability of LEVEL."""

    value: float
    low: float
    high: float


def in_turns(runs: Mapping[str, Run], rounds: int = ROUNDS) -> dict[str, Timing]:
    """The time of one repetition of each run; `in_rounds` measures it."""
    times = in_rounds({name: (run, enough(run)) for name, run in runs.items()}, rounds)
    return {name: Timing(float(np.median(own)), (max(own) - min(own)) / 2) for name, own in times.items()}


def in_rounds(
    runs: Mapping[str, tuple[Run, int]], rounds: int, clock: Callable[[], float] | None = None
) -> dict[str, list[float]]:
    """The seconds of one repetition of each run in each round.

    Each run is timed with n and with 2n repetitions. The difference divided by n excludes the time of launching. The
    runs take turns, so that a change of the clock frequency affects all of them.

    Args:
      runs: by name: the run, and its n.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, (run, n) in runs.items():
            times[name].append((seconds(run, 2 * n, clock) - seconds(run, n, clock)) / n)
    return times


def median_of(numbers: Sequence[float]) -> Median:
    """The median of independent numbers, and its interval: from one of the smallest numbers to one of the largest.

    The median lies below the k + 1 smallest of n numbers if at most k of n fall below it, each with probability 1/2.
    So nothing is presumed of the numbers. Fewer than 8 of them have no such interval; theirs has no bounds.
    """
    ordered, n = sorted(numbers), len(numbers)
    outside, k = 0.0, -1  # the probability of at most k numbers on one of the sides
    while (more := outside + 2 * math.comb(n, k + 1) / 2**n) <= 1 - LEVEL:
        outside, k = more, k + 1
    bounds = (ordered[k], ordered[n - 1 - k]) if k >= 0 else (-math.inf, math.inf)
    return Median(float(np.median(ordered)), *bounds)


def seconds(run: Run, n: int, clock: Callable[[], float] | None = None) -> float:
    """The seconds of n repetitions on a clock; wall-clock time by default."""
    clock = clock or time.perf_counter
    start = clock()
    jax.block_until_ready(run(n))
    return clock() - start


def enough(run: Run, clock: Callable[[], float] | None = None) -> int:
    """How many repetitions take at least LEAST seconds. This compiles and warms up the run."""
    seconds(run, 1, clock)
    n = 1
    while (took := seconds(run, n, clock)) < LEAST and n < 1 << 16:
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
