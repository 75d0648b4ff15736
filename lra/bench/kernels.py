"""Times the ops of the variants: each backend, and other libraries' implementations. Wrong results get no time."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lra import settings
from lra.bench.cases import NAMES, Case, cases
from lra.bench.peers import flash_linear_attention, peers
from lra.bench.report import Report
from lra.bench.timing import Timing, in_turns, repeated

LENGTHS = (1024, 2048, 4096, 16384, 65536)
KEYS = ("case", "length", "head_dim", "direction", "by")
HEADER = ("case", "length", "width", "direction", "by", "ms", "+-", "speed", "TFLOP/s", "GB/s", "note")
KERNELS = {"gpu": "mosaic_gpu", "tpu": "mosaic_tpu"}
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
                others = flash_linear_attention(case)
                for direction in missing:
                    for row in rows(case, direction, others):
                        report.add(key | {"direction": direction} | row)
                        yield key | {"direction": direction} | row


def rows(case: Case, direction: str, others: dict[str, Timing]) -> Iterator[dict[str, Any]]:
    """A row for each implementation of a case. XLA's row is last: once it is stored, the case is complete."""
    kernel = KERNELS.get(settings.device().platform)
    functions = peers(case) | {name: case.function(name) for name in (kernel, BASE) if name}
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
            off = math.nan if name == "copy" else distance(jax.jit(f)(*case.args), expected)
            if off > TOLERANCE or (math.isnan(off) and name != "copy"):
                notes[name] = f"wrong: off by {off:.1g} of the largest number"
            else:
                run = repeated(f, case.args)
                jax.block_until_ready(run(1))  # raises if the loop does not fit the device
                timed[name] = run
        except Exception as error:  # the kernel does not support this device, or a library refuses the case
            notes[name] = f"{type(error).__name__}: {error}".splitlines()[0][:80]
    times = in_turns(timed)
    if direction in others:
        times["fla"] = others[direction]
    base = times.get(BASE)
    for name in sorted({*times, *notes}, key=lambda name: name == BASE):
        row: dict[str, Any] = {"by": name, "note": notes.get(name, "")}
        if name in times:
            time = times[name].seconds
            row |= {
                "ms": 1e3 * time,
                "spread": times[name].spread / time,
                "speed": base.seconds / time if base else math.nan,
                "tflops": case.operations * DIRECTIONS[direction] / time / 1e12,
                "gigabytes": case.bytes / time / 1e9,
            }
        yield row


def directed(function: Callable, direction: str) -> Callable:
    """The function itself, or for "forward+backward" a function that returns output and gradients of all arguments."""
    if direction == "forward":
        return function

    def both(*args: jax.Array) -> tuple[Any, ...]:
        out, pull = jax.vjp(function, *args)
        cotangent = jax.random.normal(jax.random.key(9), out.shape, jnp.float32)
        return out, *pull(cotangent.astype(out.dtype))

    return both


def exact(case: Case, direction: str) -> Any:
    """The results of XLA in float32 for the same numbers."""
    wide = [x.astype(jnp.float32) if x.dtype == jnp.bfloat16 else x for x in case.args]
    with jax.default_matmul_precision("highest"):
        return jax.block_until_ready(jax.jit(directed(case.function(BASE), direction))(*wide))


def distance(given: Any, expected: Any) -> float:
    """The largest error of all arrays, each as a share of the largest number of the array."""
    apart = lambda a, b: float(jnp.abs(a.astype(b.dtype) - b).max() / jnp.maximum(jnp.abs(b).max(), 1e-30))
    return max(jax.tree.leaves(jax.tree.map(apart, given, expected)))
