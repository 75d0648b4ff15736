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
from lra.plan import Plan
from lra.tasks.prepared import Prepared


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run came to; the defaults are those of one that failed before it came to anything.

    Attributes:
      steps, seconds: timed ones.
      step_bytes: what the compiled step needs of the device's memory.
    """

    status: Status
    error: str | None = None
    seeds: list[SeedResult] = dataclasses.field(default_factory=list)
    curve: list[CurveLine] = dataclasses.field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    compile_seconds: float = 0.0
    step_bytes: int = 0


def measured(outcome: Outcome) -> Measurements:
    memory = {"step": outcome.step_bytes}
    if (stats := jax.devices()[0].memory_stats()) and "peak_bytes_in_use" in stats:
        memory["peak"] = stats["peak_bytes_in_use"]
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
            source_sha256=plan.source_sha256,
            source=plan.variant_source,
        ),
        protocol=Protocol(name=plan.protocol, overrides=tuple(plan.overrides)),
        config=plan.config,
        config_sha256=plan.config_sha256,
        parameters=plan.parameters,
        parameter_tree_sha256=None,
        selection=SELECTIONS[plan.train.select],
        seeds=tuple(outcome.seeds),
        curve=tuple(outcome.curve),
        measured=measured(outcome),
    )
