"""Makes the record of a run from its outcome."""

import dataclasses
import datetime
from typing import Any

import numpy as np
from jaxtyping import Int

from lra import environment, settings
from lra.leaderboard.predictions import accuracy_by_level, pack
from lra.leaderboard.record import (
    SCHEMA,
    SELECTIONS,
    CurveLine,
    Difficulty,
    Floors,
    KernelUse,
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
from lra.tasks import Source, Split, Task
from lra.tasks.prepared import Prepared


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of a run. The defaults are those of a run that failed before its first step.

    Attributes:
      tree: the model tree of the train state.
      error: why the run failed; None if it did not.
      steps, seconds: the train steps that were timed, and their time.
      step_bytes: the device memory of the compiled train step.
      peak_bytes: the highest use of device memory during this run; None if it is not known.
      kernels: the implementation of each call of an op in the train step.
      mesh: the number of devices along each axis of the mesh; empty if the run failed before there was one.
      earlier: hardware and versions of other machines that trained the first steps, each with `until_step`.
      others: the share of the cores that other programs took while the steps were timed; None if it is not known.
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
    kernels: tuple[KernelUse, ...] = ()
    mesh: dict[str, int] = dataclasses.field(default_factory=dict)
    earlier: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    others: float | None = None


class PeakMemory:
    """The highest use of device memory since the object was made.

    A device reports the highest use of the whole process. It belongs to this run only if it has risen meanwhile.
    """

    def __init__(self) -> None:
        self.before = self.highest()

    def highest(self) -> int | None:
        """The highest use of the whole process in bytes; None if the device does not report it."""
        stats = settings.device().memory_stats() or {}
        return stats.get("peak_bytes_in_use")

    def of_this_run(self) -> int | None:
        """The highest use of this run in bytes; None if the device does not report it or an earlier run used more."""
        now = self.highest()
        return now if now is not None and now > (self.before or 0) else None


def measured(plan: Plan, outcome: Outcome) -> Measurements:
    """The measurements of an outcome, with the environment of this process."""
    source = plan.variant.source
    memory = {"step": outcome.step_bytes}
    if outcome.peak_bytes is not None:
        memory["peak"] = outcome.peak_bytes
    return Measurements(
        steps_per_second=outcome.steps / outcome.seconds if outcome.seconds else None,
        train_seconds=outcome.seconds,
        compile_seconds=outcome.compile_seconds,
        memory_bytes=memory,
        kernels=outcome.kernels,
        hardware=environment.hardware(outcome.mesh)
        | {"compute_type": plan.train.compute_type}
        | ({"earlier": outcome.earlier} if outcome.earlier else {})
        | ({} if outcome.others is None else {"others": outcome.others}),
        versions=environment.versions(source.packages if source else ()),
        git=environment.git(),
        finished_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def task_info(task: Task, source: Source, data: Prepared) -> TaskInfo:
    """What a record says of a prepared task."""
    manifest = data.manifest
    return TaskInfo(
        name=task.name,
        version=task.version,
        parameters=manifest["parameters"],
        data_sha256=data.data_sha256,
        files=manifest["sha256"],
        test_labels=pack(np.asarray(data.splits["test"].labels)),
        examples=Sizes(**manifest["examples"]),
        floor=Floors(**manifest["floor"]),
        unlearnt=task.unlearnt,
        stands_in_for=task.stands_in_for,
        difficulty=difficulty_of(source, data),
    )


def difficulty_of(source: Source, data: Prepared) -> Difficulty | None:
    """What a record says of a task's difficulty."""
    if not (said := source.difficulty):
        return None
    return Difficulty(**dataclasses.asdict(said), test_bins=pack(np.asarray(data.splits["test"].bins)))


def by_level(
    source: Source, test: Split, predictions: Int[np.ndarray, "examples *tokens"]
) -> tuple[float | None, ...] | None:
    """The accuracy of some predictions on each level of the task's difficulty; None for a task that does not tell."""
    if not (difficulty := source.difficulty):
        return None
    assert test.bins is not None, "the task has a difficulty"
    return accuracy_by_level(predictions, np.asarray(test.labels), np.asarray(test.bins), len(difficulty.levels))


def make_record(plan: Plan, data: Prepared, outcome: Outcome) -> Record:
    """The record of a run."""
    return Record(
        schema=SCHEMA,
        run=plan.run_id(data.data_sha256),
        status=outcome.status,
        error=outcome.error,
        task=task_info(plan.task, plan.source, data),
        variant=VariantInfo(
            name=plan.variant.name,
            version=plan.variant.version,
            paper=plan.variant.paper,
            source_sha256=plan.source_sha256,
            sources=plan.sources,
            checks=None,
        ),
        protocol=Protocol(name=plan.spec.protocol, overrides=plan.spec.overrides),
        config=plan.config,
        config_sha256=plan.config_sha256,
        parameters=outcome.tree.parameters,
        parameter_tree_sha256=outcome.tree.sha256,
        selection=SELECTIONS[plan.train.select],
        seeds=tuple(outcome.seeds),
        curve=tuple(outcome.curve),
        measured=measured(plan, outcome),
    )
