"""Times train steps of the variants at several lengths, in turns with the Transformer's (LRA's table 2)."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lra import settings
from lra.bench.report import Report
from lra.bench.timing import in_turns
from lra.errors import UserError
from lra.models.attention import VARIANTS
from lra.plan import Plan, resolve
from lra.recipe import variant_named
from lra.spec import RunSpec
from lra.tasks import Split
from lra.train import step_functions

TASK, BASE = "text", "transformer"
KEYS = ("variant", "length")
HEADER = ("variant", "length", "steps/s", "+-", "speed", "MB", "memory", "note")


def named(text: str) -> list[str]:
    """The variants in a list with commas, or all of them. The Transformer comes first.

    Raises:
      UsageError: there is no such variant.
    """
    names = sorted(VARIANTS) if text == "all" else text.split(",")
    for name in names:
        variant_named(name)
    return sorted(names, key=lambda name: name != BASE)


def cells(row: dict[str, Any]) -> list[str]:
    """The cells of a row. "speed" and "memory" are ratios to the Transformer's."""
    start = [row["variant"], str(row["length"])]
    if row["error"]:
        return [*start, *[""] * 5, row["error"]]
    numbers = (f"{row['steps_per_second']:.3g}", f"{100 * row['spread']:.0f} %", f"{row['speed']:.2f}")
    return [*start, *numbers, f"{row['megabytes']:.0f}", f"{row['memory']:.2f}", ""]


def bench(names: Sequence[str], lengths: Sequence[int], overrides: Sequence[str], report: Report) -> Iterator[dict]:
    """Measures the rows that the report lacks, adds them to it and yields them.

    The model is that of protocol `paper` on Text. Tokens are random, and every text has the maximal length.

    Args:
      lengths: in tokens.
      overrides: gin bindings.
    """
    for length in lengths:
        wanted = [name for name in names if report.wants(variant=name, length=length)]
        if not wanted:
            continue
        base: Steps | None = None
        for name in wanted:
            if not report.wants(variant=name, length=length):
                return
            row: dict[str, Any] = {"variant": name, "length": length}
            try:
                base = base or steps_at(length, BASE, overrides)
                steps = base if name == BASE else steps_at(length, name, overrides)
                times = in_turns({BASE: base, name: steps})
                of_base, own = times[BASE], times[name]
                row |= {
                    "steps_per_second": 1 / own.seconds,
                    "spread": own.spread / own.seconds,
                    "speed": of_base.seconds / own.seconds,
                    "megabytes": steps.bytes / 1e6,
                    "memory": steps.bytes / base.bytes,
                    "error": None,
                }
            except UserError as error:
                row["error"] = str(error)
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                row["error"] = "out of memory"
            report.add(row)
            yield row


def steps_at(length: int, name: str, overrides: Sequence[str]) -> "Steps":
    """The train steps of a variant at a length."""
    return Steps(resolve(RunSpec(TASK, name, "paper", overrides=(*overrides, f"{TASK}.max_length = {length}"))))


class Steps:
    """A compiled loop of train steps of one seed. Tokens are random, and every sequence has the maximal length.

    Attributes:
      bytes: the device memory of a step; NaN if the compiler does not report it.
    """

    @settings.fixed()
    def __init__(self, plan: Plan):
        batch, length, functions = plan.train.batch_size, plan.source.max_length, step_functions(plan)
        rng = np.random.default_rng(0)
        rows = rng.integers(1, plan.task.vocab_size, (batch, length)).astype(np.uint8)
        labels = rng.integers(0, plan.task.num_classes, batch)
        split = jax.tree.map(jnp.asarray, Split(rows, np.full(batch, length), labels))
        self.arguments = (jax.random.key(0)[None], jnp.int32(0), jnp.arange(batch)[None, None], split)
        self.state = functions.init([0])
        keys, first, index, split = self.arguments
        self.run = jax.jit(
            lambda state, count: functions.run(state, keys, first, count, jnp.broadcast_to(index, (1, 1, batch)), split)
        )
        self.compiled = self.run.lower(self.state, jnp.int32(1)).compile()
        memory = self.compiled.memory_analysis()
        self.bytes = memory.temp_size_in_bytes + memory.argument_size_in_bytes if memory else math.nan

    @settings.fixed()
    def __call__(self, count: int) -> jax.Array:
        return self.compiled(self.state, jnp.int32(count)).loss
