"""From a plan to its record: trains what has no record, once at a time, and says in a line what went wrong."""

import dataclasses
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from lra import claims, forecast, run_folder, settings
from lra.errors import UserError
from lra.feed import sizes_of
from lra.files import check_writable, write_atomically
from lra.leaderboard import store
from lra.leaderboard.record import KernelUse, Record, Status, write, write_first
from lra.leaderboard.store import folder_of
from lra.models import precision
from lra.placement import placement_of
from lra.plan import Plan
from lra.progress import Bar
from lra.proof.choice import AUTO, Choice, begun_with, choice_of
from lra.recording import Outcome, PeakMemory, make_record
from lra.spec import FILE
from lra.tasks.prepared import Prepared
from lra.trainer import Trainer


def recorded(plan: Plan, data: Prepared, results: Path) -> Record | None:
    """The record of a run in a results folder; None if there is none, or if the run failed."""
    return store.find(results, plan.run_id(data.data_sha256))


def execute(
    plan: Plan,
    data: Prepared,
    results: Path,
    *,
    bar: Bar | None = None,
    stop: threading.Event | None = None,
    checkpoint_every: float = 30.0,
    anew: bool = False,
    devices: Sequence[jax.Device] | None = None,
    trace: Path | None = None,
    kernels: str | Sequence[KernelUse] = AUTO,
    claim: claims.Claim | None = None,
) -> Record:
    """Trains and scores all seeds of a plan and writes the record. It continues where an earlier call was stopped.

    Args:
      results: the results folder. Spec, checkpoint, metrics.jsonl and TensorBoard files are in `runs/RUN`, the record
        is in `records`.
      bar: is advanced by the steps, and by the kinds of `work_beside_steps`.
      stop: once set, the run saves a checkpoint and ends; also while it evaluates.
      checkpoint_every: the seconds between checkpoints; they do not change the outcome.
      anew: whether to delete the checkpoint of an earlier call.
      devices: those that may be used; None for all. A run may go on with others than it began with.
      trace: a folder for a profile of some steps; None for none.
      kernels: how the implementation of each op in the train step is chosen: "auto" takes the fastest that is proven
        right on this device, a name takes that one wherever an op has it, and what a record says is taken again. A
        run that goes on keeps what it began with.
      claim: the claim of the run if this process has it already. It is given back in either case.

    Raises:
      Interrupted: `stop` was set.
      Taken: another process trains the same run.
      UserError: no record could keep the variant's source, the memory or the disk is full, the run failed, the settings
        of this process are not the plan's, or an op cannot use the implementation asked for.
      UsageError: there is no such implementation.
    """
    if plan.environment != (here := settings.from_outside()):
        raise UserError(
            f"the plan was made under {settings.words(plan.environment)}, this process has {settings.words(here)}; "
            "set the same, or make the plan here"
        )
    run = plan.run_id(data.data_sha256)
    place = run_folder.folder_of(results, run)
    folder = place.local
    trainer: Trainer | None = None
    settings.require()
    precision.require(plan.dtype, settings.device())
    peak = PeakMemory()
    check_writable(folder_of(results) / f"{run}.json")
    say = bar.display.say if bar else lambda text: None
    with claims.held(claim or claims.take(results, run, say)) as held:
        stop = stop or threading.Event()
        held.lost = lambda: stop.set()
        held.report = lambda: reached(plan, trainer, bar)
        # another process may have written it before this one had the claim
        if not anew and (record := recorded(plan, data, results)):
            return record
        place.begin(anew)
        write_atomically(folder / FILE, plan.spec.to_json())  # says whose checkpoint it is until there is a record
        try:
            choice = choice_for(plan, data, folder, kernels, devices, bar, stop)
            trainer = Trainer(
                plan, data, folder, bar, stop, checkpoint_every, devices, trace, choice, held.require, place.share
            )
            outcome = trainer.train_and_score()
        except UserError:
            raise
        except Exception as error:
            raise failure(plan, data, results, trainer, error) from error
        record = make_record(plan, data, dataclasses.replace(outcome, peak_bytes=peak.of_this_run()))
        held.require()
        place.share()
        if anew or not write_first(record, folder_of(results)):
            if not anew and (before := recorded(plan, data, results)):  # of a process that was taken for dead
                return before
            write(record, folder_of(results))
        place.end()
    return record


def reached(plan: Plan, trainer: Trainer | None, bar: Bar | None) -> dict[str, Any]:
    """What a run has reached, for those who look at its claim."""
    return {
        "step": trainer.step if trainer else 0,
        "steps": plan.train.steps,
        "left": bar.seconds_left() if bar else None,
        "note": bar.text if bar else "",
    }


def choice_for(
    plan: Plan,
    data: Prepared,
    folder: Path,
    kernels: str | Sequence[KernelUse],
    devices: Sequence[jax.Device] | None,
    bar: Bar | None,
    stop: threading.Event | None,
) -> Choice:
    """The choice of kernels for a run in its folder; arguments and errors as for `execute`."""
    count = placement_of(len(plan.seeds), plan.train.at_once, devices).mesh.size
    lengths = sizes_of(data.splits["train"], plan.train.buckets)
    say = bar.display.say if bar else lambda text: None
    return choice_of(begun_with(folder) or kernels, plan, lengths, count, say, stop)


def failure(plan: Plan, data: Prepared, results: Path, trainer: Trainer | None, error: Exception) -> UserError:
    """What a run ended with, in a line. It is recorded if it is a result: of the variant, and of this run.

    Args:
      trainer: None if it was not made.
    """
    status: Status = "out of memory" if "RESOURCE_EXHAUSTED" in str(error) else "failed"
    reason = f"{type(error).__name__}: {error}".splitlines()[0][:500]
    tree = trainer.tree() if trainer else plan.tree  # without a trainer no model was built
    assert tree
    way_out = f"; {forecast.less_memory(plan)}" if status == "out of memory" else ""
    if status == "failed" and not plan.variant.line_of(error):
        where = "not recorded, since no line of the variant raised it; --debug shows where it comes from"
    elif status == "out of memory" and trainer and trainer.step:
        where = f"after step {trainer.step}; once there is memory, the same command goes on from step {trainer.saved}"
    elif recorded(plan, data, results):
        where = "not recorded, since the record of an earlier run would be lost"
    else:
        path = write(make_record(plan, data, Outcome(status, tree, reason)), folder_of(results))
        where = f"recorded in {path}"
    return UserError(f"{plan.variant.name} on {plan.task.name}: {status} ({reason}); {where}{way_out}")
