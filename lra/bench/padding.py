"""Counts the tokens that are computed for each real token, and times steps: in batches of any length, and of about one.

The model is the Transformer of protocol `paper`, the examples are those of the prepared task. Each size of batches is
timed alone; a step takes the mean over the batches of an epoch.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from lra.bench.report import Report
from lra.order import Order, lengths_of, padded_sizes, padded_to
from lra.plan import Plan, resolve
from lra.spec import RunSpec
from lra.tasks import Split
from lra.tasks.prepared import Prepared, load
from lra.tasks.task import SPLITS
from lra.trainer import Trainer

TASKS = {"listops": ("listops", []), "text": ("text", []), "text, 4,000": ("text", ["text.max_length = 4000"])}
BATCH, WINDOW = 8, 64
REPEATS = 2  # timed steps of each size

KEYS = ("task", "what")
HEADER = ("task", "what", "padded to", "tokens per real one", "before", "steps/s", "before")


def cells(row: dict[str, Any]) -> list[str]:
    """The cells of a row. "before" is padding to the longest sequence of the task."""
    speeds = [f"{row[name]:.3g}" if row[name] else "" for name in ("steps_per_second", "steps_per_second_before")]
    sizes = " ".join(map(str, row["sizes"]))
    return [row["task"], row["what"], sizes, f"{row['tokens']:.2f}", f"{row['tokens_before']:.2f}", *speeds]


def bench(report: Report) -> Iterator[dict[str, Any]]:
    """Measures the rows that the report lacks, adds them to it and yields them. The tasks must be prepared.

    Raises:
      UserError: a task is not prepared.
    """
    for name, (task, overrides) in TASKS.items():
        if not report.wants(task=name, what="training"):
            continue
        overrides = [*overrides, f"train.batch_size = {BATCH}", f"train.buckets = {WINDOW}"]
        plan = resolve(RunSpec(task, "transformer", "paper", overrides=tuple(overrides)))
        data = load(plan.task, plan.source, plan.prepare_command)
        for row in rows_of(plan, data):
            report.add({"task": name} | row)
            yield {"task": name} | row


def rows_of(plan: Plan, data: Prepared) -> Iterator[dict[str, Any]]:
    """Scoring, which needs no time to be measured, then training."""
    longest = plan.source.max_length
    lengths = np.concatenate([lengths_of(data.splits[name]) for name in SPLITS[1:]])
    sizes = padded_sizes(lengths, longest)
    tokens = {"tokens": ratio(padded_to(sizes, lengths), lengths), "tokens_before": longest / lengths.mean()}
    yield {"what": "scoring", "sizes": sizes, "steps_per_second": None, "steps_per_second_before": None} | tokens
    lengths = lengths_of(data.splits["train"])
    order = Order(lengths, BATCH, WINDOW)
    batches = np.stack([lengths[order.rows(0, step)] for step in range(len(lengths) // BATCH)])
    sizes = padded_sizes(lengths, longest)
    padded = padded_to(sizes, batches.max(1))
    tokens = {"tokens": ratio(padded * BATCH, batches), "tokens_before": longest / lengths.mean()}
    seconds = {size: step_seconds(plan, data, size) for size in {*sizes, longest}}
    speeds = {
        "steps_per_second": 1 / np.mean([seconds[size] for size in padded]),
        "steps_per_second_before": 1 / seconds[longest],
    }
    yield {"what": "training", "sizes": sizes} | tokens | speeds


def ratio(computed: Int[np.ndarray, "*shape"], real: Int[np.ndarray, "*shape"]) -> float:
    """The tokens that are computed for each real one."""
    return float(computed.sum() / real.sum())


def step_seconds(plan: Plan, data: Prepared, size: int) -> float:
    """The median time of a train step whose batch is padded to a size."""
    train = data.splits["train"]
    some = Split(train.inputs[:BATCH, :size], np.minimum(train.lengths[:BATCH], size), train.labels[:BATCH])
    with tempfile.TemporaryDirectory() as folder:
        some_data = Prepared(data.task, data.folder, data.manifest, data.splits | {"train": some})
        trainer = Trainer(plan, some_data, Path(folder))
        run = trainer.lower(trainer.functions, size).compile()
        rows = np.broadcast_to(np.arange(BATCH, dtype=np.int32), trainer.feed.piece(0).rows.shape)
        times = []
        for step in range(1 + REPEATS):
            began = time.perf_counter()
            span = (np.int32(step), np.int32(1))
            trainer.state = run(trainer.state, trainer.keys, *span, rows, trainer.feed.piece(0).examples)
            jax.block_until_ready(trainer.state)
            times.append(time.perf_counter() - began)
        trainer.feed.close()
        trainer.checkpoints.close()
    return float(np.median(times[1:]))
