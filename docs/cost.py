"""Writes cost.json, what LRA's table costs: `.venv/bin/python docs/cost.py`. It traces each model, which takes minutes.

The operations of a cell are those of its model, forward and, twice as many, backward, on all batches of all steps and
seeds. The seconds follow from a rate in operations a second: that of the same variant's benchmark step at the nearest
length. A variant without such a step, measured and compiled, is left out.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lra.bench.compile import plan_at
from lra.models.attention import VARIANTS
from lra.parameter_budget import PROTOCOL, TASKS
from lra.plan import Plan, untraced
from lra.spec import RunSpec
from lra.sweeps.estimate import operations_of

DOCS = Path(__file__).resolve().parent
FILE = DOCS / "cost.json"
SEEDS = (0, 1, 2)
PASSES = 3  # a forward pass takes one share of the operations of a step, its derivative two
# of an H100 SXM, as NVIDIA publishes them: without sparsity, in TF32, in which XLA multiplies float32 on it
OPERATIONS, BYTES = 495e12, 3.35e12  # a second
Seconds = dict[tuple[str, str, int], float]  # of a benchmark step, by target, variant and length


def of_steps() -> Seconds:
    """On a CPU as measured; on an H100 as long as its arithmetic or its memory is busy, whichever is longer."""
    compiled = json.loads((DOCS / "bench-compile.json").read_bytes())["rows"]
    measured = json.loads((DOCS.parent / "leaderboard" / "results" / "bench-variants.json").read_bytes())["rows"]
    return {
        ("hopper", row["variant"], row["length"]): max(row["operations"] / OPERATIONS, row["bytes"] / BYTES)
        for row in compiled
        if row["target"] == "hopper" and not row["error"]
    } | {
        ("cpu", row["variant"], row["length"]): 1 / row["steps_per_second"]
        for row in measured
        if row["direction"] == "training" and not row["end"] and row["batch"] * row["length"] == 4096
    }


def rate(target: str, variant: str, length: int, seconds: Seconds) -> float:
    """The operations a second of the benchmark step of a variant at the length nearest to one."""
    known = [there for name, of, there in seconds if (name, of) == (target, variant)]
    near = min(known, key=lambda there: abs(math.log(there / length)))
    return PASSES * operations_of(plan_at(target, near, variant, ())) / seconds[target, variant, near]


def operations_of_run(plan: Plan) -> float:
    """The operations that all seeds take in training."""
    return PASSES * operations_of(plan) * plan.train.steps * len(SEEDS)


def rows() -> Iterator[dict[str, Any]]:
    seconds = of_steps()
    timed = [{variant for name, variant, _ in seconds if name == target} for target in ("cpu", "hopper")]
    for variant in sorted(set.intersection(*timed) & VARIANTS.keys()):
        for task in TASKS:
            plan = untraced(RunSpec(task, variant, PROTOCOL))
            work, length = operations_of_run(plan), plan.source.max_length
            times = {target: round(work / rate(target, variant, length, seconds)) for target in ("cpu", "hopper")}
            yield {"variant": variant, "task": task, "operations": float(f"{work:.6g}"), "seconds": times}


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(row) for row in rows())
    FILE.write_text(f"[\n{lines}\n]\n", "utf-8")
