"""Tests the clock of the benchmarks on programs whose time is known, on the device at hand.

If a test fails, the machine is busy or its clock frequency changes, and no benchmark should be believed.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lra.bench.report import Report
from lra.bench.timing import Run, enough, in_rounds, median_of, repeated, seconds

KEYS = ("test",)
HEADER = ("test", "measured", "from", "to", "expected", "result")
ROUNDS = 15
TOLERANCE = 0.05  # of what is expected
SLEEP = 0.02  # seconds
SIZE, LINKS = 256, 32  # of the matrices, and how many are multiplied one after the other


class Programs(NamedTuple):
    """What is timed: an op, the same op, the op twice in a row, and one that takes SLEEP seconds."""

    once: Run
    again: Run
    twice: Run
    sleep: Run


def cells(row: dict[str, Any]) -> list[str]:
    numbers = (f"{row[name]:.4f}" for name in ("measured", "low", "high"))
    return [row["test"], *numbers, f"{row['expected']:g}", "passed" if row["passed"] else f"FAILED: {row['why']}"]


def bench(report: Report) -> Iterator[dict[str, Any]]:
    """Runs the tests, adds their rows to the report and yields them."""
    for row in results(programs(), time.perf_counter):
        report.add(row)
        yield row


def results(programs: Programs, clock: Callable[[], float]) -> Iterator[dict[str, Any]]:
    """The tests' rows. What is measured is a median over rounds, with an interval that holds it."""
    n = enough(programs.once, clock)
    runs = {name: (run, n) for name, run in programs._asdict().items() if name != "sleep"}
    times = in_rounds(runs, ROUNDS, clock)
    ratios = lambda a, b: np.divide(times[a], times[b])
    slept = in_rounds({"sleep": (programs.sleep, max(round(0.05 / SLEEP), 1))}, ROUNDS, clock)["sleep"]
    yield verdict("a sleep of 20 ms, in ms", 1e3 * np.array(slept), 1e3 * SLEEP)
    yield verdict("twice the work / the work", ratios("twice", "once"), 2.0)
    yield verdict("the work / the same work", ratios("again", "once"), 1.0)
    yield verdict("(t(4N) - t(2N)) / 2 (t(2N) - t(N))", linearity(programs.once, n, clock), 1.0)


def linearity(run: Run, n: int, clock: Callable[[], float]) -> np.ndarray:
    """The time of 2n further repetitions, as a share of twice that of the n before, in each round."""
    rounds = np.array([[seconds(run, count * n, clock) for count in (1, 2, 4)] for _ in range(ROUNDS)])
    first, second = np.diff(rounds).T
    return second / (2 * first)


def verdict(test: str, numbers: np.ndarray, expected: float) -> dict[str, Any]:
    """A row. The median must be within TOLERANCE of what is expected; an interval wider than that shows nothing."""
    measured, low, high = median_of(numbers.tolist())
    why = ""
    if high - low > 2 * TOLERANCE * expected:
        why = "the interval is too wide: the machine is busy"
    elif abs(measured - expected) > TOLERANCE * expected:
        why = f"off by {measured / expected - 1:+.1%}"
    elif expected == 1 and not low <= expected <= high:
        why = "the interval does not hold it"
    return {
        "test": test, "measured": measured, "low": low, "high": high, "expected": expected, "passed": not why,
        "why": why,
    }  # fmt: skip


def programs() -> Programs:
    """The programs on the device at hand. The op is a chain of products with a permutation, which keeps all numbers."""
    x = jax.random.normal(jax.random.key(0), (SIZE, SIZE))
    permutation = jnp.roll(jnp.eye(SIZE), 1, 0)

    def chain(links: int) -> Run:
        function = lambda x, w: jax.lax.fori_loop(0, links, lambda _, x: x @ w, x)
        return repeated(function, (x, permutation))

    def slept(number: np.ndarray) -> np.ndarray:
        time.sleep(SLEEP)
        return np.asarray(number)

    sleep = lambda x: jax.pure_callback(slept, jax.ShapeDtypeStruct((1,), jnp.float32), x)
    return Programs(chain(LINKS), chain(LINKS), chain(2 * LINKS), repeated(sleep, (jnp.zeros(1),)))


def passed(rows: Mapping[Any, dict[str, Any]]) -> bool:
    """Whether all tests have passed."""
    return all(row["passed"] for row in rows.values())
