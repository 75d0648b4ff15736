"""From an outcome to the record that is kept of it."""

import dataclasses
import datetime

import jax
import numpy as np

from lra import environment
from lra.leaderboard.predictions import pack
from lra.leaderboard.record import (
    SCHEMA,
    SELECTIONS,
    CurveLine,
    Floors,
    Measurements,
    Protocol,
    Record,
    SeedResult,
    Sizes,
    Status,
    TaskInfo,
    VariantInfo,
)
from lra.model_tree import ModelTree
from lra.plan import Plan
from lra.tasks.prepared import Prepared


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run came to; the defaults are those of one that failed before it came to anything.

    Attributes:
      tree: of the train state.
      steps, seconds: timed ones.
      step_bytes: what the compiled step needs of the device's memory.
      peak_bytes: the highest use of the device's memory during this run; None where that is not known.
    """

    status: Status
    tree: ModelTree
    error: str | None = None
    seeds: list[SeedResult] = dataclasses.field(default_factory=list)
    curve: list[CurveLine] = dataclasses.field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    compile_seconds: float = 0.0
    step_bytes: int = 0
    peak_bytes: int | None = None


class PeakMemory:
    """The highest use of the device's memory from here on.

    A device tells the highest use of the whole process. Only where that has risen it is known to be of this run.
    """

    def __init__(self) -> None:
        self.before = self.highest()

    def highest(self) -> int | None:
        stats = jax.devices()[0].memory_stats() or {}
        return stats.get("peak_bytes_in_use")

    def of_this_run(self) -> int | None:
        """In bytes; None if the device does not tell, or an earlier run of this process used more."""
        now = self.highest()
        return now if now is not None and now > (self.before or 0) else None


def measured(outcome: Outcome) -> Measurements:
    memory = {"step": outcome.step_bytes}
    if outcome.peak_bytes is not None:
        memory["peak"] = outcome.peak_bytes
    return Measurements(
        steps_per_second=outcome.steps / outcome.seconds if outcome.seconds else None,
        train_seconds=outcome.seconds,
        compile_seconds=outcome.compile_seconds,
        memory_bytes=memory,
        hardware=environment.hardware(),
        versions=environment.versions(),
        git=environment.git(),
        finished_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def make_record(plan: Plan, data: Prepared, outcome: Outcome) -> Record:
    """The record of an outcome, with all that decided it."""
    manifest = data.manifest
    return Record(
        schema=SCHEMA,
        run=plan.run_id(data.data_sha256),
        status=outcome.status,
        error=outcome.error,
        task=TaskInfo(
            name=plan.task.name,
            version=plan.task.version,
            parameters=manifest["parameters"],
            data_sha256=data.data_sha256,
            files=manifest["sha256"],
            test_labels=pack(np.asarray(data.splits["test"].labels)),
            examples=Sizes(**manifest["examples"]),
            floor=Floors(**manifest["floor"]),
            unlearnt=plan.task.unlearnt,
            stands_in_for=plan.task.stands_in_for,
        ),
        variant=VariantInfo(
            name=plan.variant.name,
            version=plan.variant.version,
            paper=plan.variant.paper,
            source_sha256=plan.variant.source_sha256,
            source=plan.variant.source,
        ),
        protocol=Protocol(name=plan.spec.protocol, overrides=plan.spec.overrides),
        config=plan.config,
        config_sha256=plan.config_sha256,
        parameters=outcome.tree.parameters,
        parameter_tree_sha256=outcome.tree.sha256,
        selection=SELECTIONS[plan.train.select],
        seeds=tuple(outcome.seeds),
        curve=tuple(outcome.curve),
        measured=measured(outcome),
    )
