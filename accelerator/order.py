"""Prints the training runs of a protocol, the shortest first, as a JSON list of [task, variant].

    python accelerator/order.py BENCH.json PROTOCOL TASK...

How long a run takes follows from the tokens a second in BENCH.json, which `lra bench variants` writes. A variant that
is not in there is compared with the Transformer, by the operations of both models.
"""

import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from lra.checks.check import DoesNotApply
from lra.checks.growth import exponent, operations
from lra.errors import UsageError
from lra.models.attention import VARIANTS
from lra.plan import Plan, untraced
from lra.spec import RunSpec

BASE = "transformer"


def main(bench: Path, protocol: str, tasks: list[str]) -> None:
    rows = json.loads(bench.read_bytes())["rows"] if bench.exists() else []
    measured = [row for row in rows if row["direction"] == "training" and not row["end"]]
    costs: dict[tuple[str, str], float] = {}
    for task in tasks:
        plans = dict(plans_of(task, protocol))
        # seconds of an operation, or 1 where the Transformer has not been measured either
        base = seconds(plans[BASE], measured) if BASE in plans else None
        rate = base / operations_of(plans[BASE]) if base else 1.0
        for variant, plan in plans.items():
            costs[task, variant] = seconds(plan, measured) or rate * operations_of(plan)
    print(json.dumps(sorted(costs, key=lambda cell: (costs[cell], cell))))


def plans_of(task: str, protocol: str) -> list[tuple[str, Plan]]:
    """The plan of each variant that has one."""
    plans = []
    for variant in VARIANTS:
        try:
            plans.append((variant, untraced(RunSpec(task, variant, protocol))))
        except UsageError as error:
            print(f"{task} {variant}: {error}", file=sys.stderr)
    return plans


def seconds(plan: Plan, rows: list[dict[str, Any]]) -> float | None:
    """What a run takes by the measured row whose length is nearest, if there is one."""
    length = plan.source.max_length
    own = [row for row in rows if row["variant"] == plan.variant.name]
    if not own:
        return None
    near = min(own, key=lambda row: abs(row["length"] - length))
    try:
        power = exponent(plan.variant.cost)
    except DoesNotApply:
        power = 2.0
    tokens = plan.train.steps * plan.train.batch_size * plan.task.documents * length
    return tokens / near["tokens_per_second"] * (length / near["length"]) ** (power - 1)


def operations_of(plan: Plan) -> float:
    """Those of the model on all batches of a run."""
    shape = (plan.train.batch_size, *([plan.task.documents] if plan.task.documents > 1 else []))
    tokens = jnp.zeros((*shape, plan.source.max_length), jnp.uint8)

    def forward() -> jax.Array:
        model = plan.model(nnx.Rngs(params=0, dropout=0))
        return model(tokens, jnp.full(shape, plan.source.max_length))

    return plan.train.steps * operations(jax.make_jaxpr(forward)())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
