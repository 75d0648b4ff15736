"""The preset: training steps a second of a 2-layer encoder of width 64, 4 heads, batch 4 x 1,024 tokens, float32.

One number for each variant, in three minutes on a CPU. It never changes, so that numbers of any two times compare.
"""

from collections.abc import Iterator
from typing import Any

from lra.bench.programs import Program
from lra.bench.report import Report
from lra.bench.variants import Loop, repetitions, timed
from lra.models.attention import VARIANTS
from lra.plan import Plan, resolve
from lra.spec import RunSpec

METRIC, UNIT = "training_steps_per_second", "1/s"
BINDINGS = (
    "text.max_length = 1024", "encoder.layers = 2", "encoder.dim = 64", "encoder.qkv_dim = 64", "encoder.heads = 4",
    "encoder.mlp_dim = 128", "encoder.dropout = 0.1", "encoder.attention_dropout = 0.1", "train.batch_size = 4",
    "train.compute_type = 'float32'",
)  # fmt: skip
KEYS = ("variant",)
HEADER = ("variant", UNIT, "+-")


def cells(row: dict[str, Any]) -> list[str]:
    return [row["variant"], f"{row[METRIC]:.3g}", f"{100 * row['spread']:.0f} %"]


def bench(report: Report) -> Iterator[dict[str, Any]]:
    """Measures the rows that the report lacks, adds them to it and yields them."""
    for name in sorted(variant.name for variant in VARIANTS.values() if variant.is_own):
        if report.wants(variant=name):
            run = Program(plan_of(name), "training").start()
            timing = timed({name: Loop(run, repetitions(run))})[name]
            row = {"variant": name, METRIC: 1 / timing.seconds, "spread": timing.spread / timing.seconds}
            report.add(row)
            yield row


def plan_of(name: str) -> Plan:
    """The plan of a variant: bytes of Text, and all else as protocol `paper` has it."""
    return resolve(RunSpec("text", name, "paper", overrides=BINDINGS))
