"""Records as a flat table, for data frames and spreadsheets."""

from collections.abc import Iterator
from typing import Any

from lra.leaderboard.record import Record
from lra.leaderboard.row import steps_per_second
from lra.leaderboard.sweeps import hardware_of


def rows(record: Record) -> Iterator[dict[str, Any]]:
    """A row for each seed of a record. Values are texts and numbers, and every record has the same columns.

    Accuracies are shares of all examples of a split, losses are mean nats. Both are None if a seed has no score.
    `steps_per_second` is that of the tables: the steps of one seed, summed over all seeds of the run. `step_bytes` is
    the memory of a train step.
    """
    task, variant, measured = record.task, record.variant, record.measured
    for seed in record.seeds:
        yield {
            "run": record.run,
            "task": task.name,
            "task_version": task.version,
            "data_sha256": task.data_sha256,
            "protocol": record.protocol.name,
            "overrides": "; ".join(record.protocol.overrides),
            "variant": variant.name,
            "variant_version": variant.version,
            "parameters": record.parameters,
            "seed": seed.seed,
            "status": seed.status,
            "step": seed.step,
            "test_accuracy": seed.test.accuracy if seed.test else None,
            "test_loss": seed.test.loss if seed.test else None,
            "validation_accuracy": seed.validation.accuracy if seed.validation else None,
            "validation_loss": seed.validation.loss if seed.validation else None,
            "test_floor": task.floor.test,
            "test_examples": task.examples.test,
            "steps_per_second": steps_per_second(record),
            "step_bytes": measured.memory_bytes.get("step"),
            "hardware": hardware_of(record),
            "finished_at": measured.finished_at,
        }
