"""Times the ops of the variants: each backend, and other libraries' implementations. Wrong results get no time."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lra.bench.cases import NAMES, Case, cases
from lra.bench.peers import elsewhere, peers
from lra.bench.report import Report
from lra.bench.timing import Timing, in_turns, repeated

LENGTHS = (1024, 2048, 4096, 16384, 65536)
KEYS = ("case", "length", "head_dim", "direction", "by")
HEADER = ("case", "length", "width", "direction", "by", "ms", "+-", "speed", "TFLOP/s", "GB/s", "note")
BASE = "xla"
TOLERANCE = 2e-2  # the most error of a bfloat16 result, as a share of the largest number
DIRECTIONS = {"forward": 1.0, "forward+backward": 3.5}  # operations as a multiple of the forward pass


def cells(row: dict[str, Any]) -> list[str]:
    """The cells of a row. "speed" is the ratio to XLA's speed."""
    start = [row["case"], str(row["length"]), str(row["head_dim"]), row["direction"], row["by"]]
    if row["note"]:
        return [*start, *[""] * 5, row["note"]]
    numbers = (f"{row['ms']:.3f}", f"{100 * row['spread']:.0f} %", f"{row['speed']:.2f}")
    return [*start, *numbers, f"{row['tflops']:.1f}", f"{row['gigabytes']:.0f}", ""]


def bench(lengths: Sequence[int], report: Report) -> Iterator[dict[str, Any]]:
    """Measures the rows that the report lacks, adds them to it and yields them."""
    for length in lengths:
        for name in NAMES:
            for case in cases(name, length):
                key = dict(case=name, length=length, head_dim=case.head_dim)
                missing = [d for d in DIRECTIONS if report.wants(**key, direction=d, by=BASE)]
                if not missing:
                    continue
                for direction in missing:
                    for row in rows(case, direction):
                        report.add(key | {"direction": direction} | row)
                        yield key | {"direction": direction} | row


def rows(case: Case, direction: str) -> Iterator[dict[str, Any]]:
    """A row for each implementation of a case. XLA's row is last: once it is stored, the case is complete."""
    functions = peers(case) | {name: case.function(name) for name in case.backends}
    try:
        expected = exact(case, direction)
    except jax.errors.JaxRuntimeError as error:
        yield {"by": BASE, "note": f"nothing to compare with: {error}".splitlines()[0][:80]}
        return
    timed: dict[str, Callable] = {}
    notes: dict[str, str] = {}
    for name, function in functions.items():
        f = directed(function, direction)
        try:
            wrong = "" if name == "copy" else wrong_by(jax.jit(f)(*case.args), expected)
            if wrong:
                notes[name] = wrong
            else:
                run = repeated(f, case.args)
                jax.block_until_ready(run(1))  # raises if the loop does not fit the device
                timed[name] = run
        except Exception as error:  # it does not support this device, or refuses the case
            notes[name] = f"{type(error).__name__}: {error}".splitlines()[0][:80]
    times = in_turns(timed)
    out = jax.tree.leaves(expected)[0]
    for name, results, time in elsewhere(case, direction, cotangent(out.shape)):
        given = [jnp.asarray(x) for x in results]
        if isinstance(time, str):
            notes[name] = time[:80]
        elif wrong := wrong_by(given, jax.tree.leaves(expected)):
            notes[name] = wrong
        else:
            times[name] = time
    base = times.get(BASE)
    for name in sorted({*times, *notes}, key=lambda name: name == BASE):
        yield row_of(case, direction, name, times.get(name), base, notes.get(name, ""))


def row_of(
    case: Case, direction: str, name: str, time: Timing | None, base: Timing | None, note: str
) -> dict[str, Any]:
    row: dict[str, Any] = {"by": name, "note": note}
    if time is None:
        return row
    return row | {
        "ms": 1e3 * time.seconds,
        "spread": time.spread / time.seconds,
        "speed": base.seconds / time.seconds if base else math.nan,
        "tflops": case.operations * DIRECTIONS[direction] / time.seconds / 1e12,
        "gigabytes": case.bytes / time.seconds / 1e9,
    }


def directed(function: Callable, direction: str) -> Callable:
    """The function itself, or for "forward+backward" a function that returns output and gradients of all arguments."""
    if direction == "forward":
        return function

    def both(*args: jax.Array) -> tuple[Any, ...]:
        out, pull = jax.vjp(function, *args)
        return out, *pull(cotangent(out.shape).astype(out.dtype))

    return both


def cotangent(shape: tuple[int, ...]) -> jax.Array:
    """What stands for the gradient of an output."""
    return jax.random.normal(jax.random.key(9), shape, jnp.float32)


def exact(case: Case, direction: str) -> Any:
    """The results of XLA in float32 for the same numbers."""
    wide = [x.astype(jnp.float32) if x.dtype == jnp.bfloat16 else x for x in case.args]
    with jax.default_matmul_precision("highest"):
        return jax.block_until_ready(jax.jit(directed(case.function(BASE), direction))(*wide))


def wrong_by(given: Any, expected: Any) -> str:
    """What is wrong with some results, in words; empty if nothing is."""
    off = distance(given, expected)
    return "" if off <= TOLERANCE else f"wrong: off by {off:.1g} of the largest number"


def distance(given: Any, expected: Any) -> float:
    """The largest error of all arrays, each as a share of the largest number of the array."""
    apart = lambda a, b: float(jnp.abs(a.astype(b.dtype) - b).max() / jnp.maximum(jnp.abs(b).max(), 1e-30))
    return max(jax.tree.leaves(jax.tree.map(apart, given, expected)))
