"""Times train steps of the same models here and in PyTorch, eager and compiled, in turns on the same cores."""

import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any

from lra import settings
from lra.bench.report import Report
from lra.errors import UserError
from lra.plan import resolve
from lra.spec import RunSpec

BATCH = {"text": 8, "image": 32}
VARIANTS = ("transformer", "performer", "s5")
KEYS = ("task", "variant")
HEADER = ("task", "variant", "parameters", "threads", "s", "eager s", "compiled s", "to eager", "to compiled", "note")


def cells(row: dict[str, Any]) -> list[str]:
    """The cells of a row: threads of both, seconds of a step, and this project's speed as a ratio to PyTorch's."""
    number = lambda name: f"{row[name]:.3f}" if row[name] else ""
    ratio = lambda name: f"{row[name] / row['seconds']:.2f}" if row[name] else ""
    times = [number(name) for name in ("seconds", "eager", "compiled")]
    threads = "{xla} and {torch}".format(**row["threads"])
    start = [row["task"], row["variant"], f"{row['parameters']:,}", threads]
    return [*start, *times, ratio("eager"), ratio("compiled"), row["note"]]


def bench(report: Report, overrides: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """Measures the rows that the report lacks, adds them to it and yields them.

    Raises:
      UserError: PyTorch's logits are not this project's, or it has another number of parameters; PyTorch is not
        installed; or JAX does not run on the processor.
    """
    if settings.device().platform != "cpu":
        raise UserError("lra bench torch is for a processor's cores; say JAX_PLATFORMS=cpu")
    if not importlib.util.find_spec("torch"):
        raise UserError("lra bench torch needs PyTorch: pip install torch")
    from lra.bench.torch_steps import measured

    for task, batch in BATCH.items():
        for name in VARIANTS:
            if not report.wants(task=task, variant=name):
                continue
            row = measured(resolve(RunSpec(task, name, "paper", overrides=(f"train.batch_size = {batch}", *overrides))))
            report.add(row)
            yield row
