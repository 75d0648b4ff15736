"""Times of functions that are compared with each other: in turns, in loops that the device runs by itself."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

ROUNDS = 5
LEAST = 0.05  # seconds of a loop: below it, launching and waiting count
Run = Callable[[int], Any]  # does something n times; the value is what to wait for


class Timing(NamedTuple):
    """Seconds a call: the median of the rounds, and half of what lies between the fastest and the slowest."""

    seconds: float
    spread: float


def in_turns(runs: Mapping[str, Run]) -> dict[str, Timing]:
    """The time that each takes to do its work once.

    Each does it n and 2n times, and the difference over n is its time, so that what a call costs is not in it. They
    take turns, so that a clock that changes changes for all.
    """
    counts = {name: enough(run) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            n = counts[name]
            times[name].append((seconds(run, 2 * n) - seconds(run, n)) / n)
    return {name: Timing(float(np.median(own)), (max(own) - min(own)) / 2) for name, own in times.items()}


def seconds(run: Run, n: int, clock: Callable[[], float] | None = None) -> float:
    clock = clock or time.perf_counter
    start = clock()
    jax.block_until_ready(run(n))
    return clock() - start


def enough(run: Run) -> int:
    """How many times are long enough to be timed; compiles and warms up."""
    seconds(run, 1)
    n = 1
    while (took := seconds(run, n)) < LEAST and n < 1 << 16:
        n = min(16 * n, max(2 * n, int(n * LEAST / max(took, 1e-6))))
    return n


def repeated(function: Callable, args: tuple[Any, ...]) -> Run:
    """Calls a function of arrays n times in one program, each time with a first argument that the call before touched.

    Args:
      args: arrays, the first of floating numbers.
    """

    @jax.jit
    def loop(n: jax.Array, args: tuple[Any, ...]) -> jax.Array:
        def body(_: jax.Array, first: jax.Array) -> jax.Array:
            # the barrier keeps all of the output alive: XLA would compute only what is read
            out = lax.optimization_barrier(function(first, *args[1:]))
            touched = jnp.stack([jnp.real(leaf.ravel()[0]).astype(jnp.float32) for leaf in jax.tree.leaves(out)])
            corner = (0,) * first.ndim
            return first.at[corner].add((1e-30 * touched.sum()).astype(first.dtype))

        return lax.fori_loop(0, n, body, args[0]).ravel()[0]

    return lambda n: loop(n, args)
