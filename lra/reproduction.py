"""Repeats a run from its record alone, and compares the outcomes.

The configuration in the record is read as plain values. The source in the record is executed only on request.
"""

import os
import shutil
import threading
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from lra import comparison, extension
from lra.configuration import layered, parse
from lra.errors import UsageError, UserError
from lra.execution import execute
from lra.files import sha256_texts, write_atomically
from lra.leaderboard import store
from lra.leaderboard.config import is_outside, values
from lra.leaderboard.predictions import unpack
from lra.leaderboard.record import Record
from lra.leaderboard.statistics import Interval
from lra.models.attention import VARIANTS
from lra.plan import Plan, plan_of, prepare_command, traced
from lra.progress import Display
from lra.recipe import task_named, variant_named
from lra.spec import RunSpec
from lra.tasks.prepared import Prepared, folder_of, load, prepare, prepared_folders
from lra.tasks.task import fields_of
from lra.trainer import work_beside_steps


class Reproduction(NamedTuple):
    """Whether two runs have the same outcome.

    Attributes:
      outcome: "to the bit" if predictions, losses and parameter counts are equal; "within noise" if the differences may
        come from rounding; else "not".
      reasons: the differences in words.
    """

    outcome: str
    reasons: tuple[str, ...]

    @property
    def same(self) -> bool:
        return self.outcome != "not"


def provide_variant(record: Record, folder: Path, trust: bool) -> None:
    """Registers the variant of a record if it is neither the project's own nor an installed one.

    Args:
      folder: the folder to which the source in the record is written.
      trust: whether the source in the record may be executed.

    Raises:
      UsageError: the project has no variant of that name.
      UserError: the variant is not available in the version of the record, or its source may not be executed.
    """
    variant = record.variant
    name, version = variant.name, variant.version
    if variant.source_sha256 is None:
        variant_named(name)
    else:
        extension.load_installed()
        if not is_here(name, variant.source_sha256):
            provide_source(record, folder, trust)
    if VARIANTS[name].version != version:
        raise UserError(
            f"the record is of {name} in version {version}, here it is version {VARIANTS[name].version}: its outputs "
            f"have changed since; take the lra of that time{commit_of(record)}"
        )


def is_here(name: str, source_sha256: str) -> bool:
    """Whether a variant of that name and source is registered."""
    try:
        return name in VARIANTS and VARIANTS[name].source_sha256 == source_sha256
    except UserError:  # no record could keep the source of this one
        return False


def provide_source(record: Record, folder: Path, trust: bool) -> None:
    """Executes the source in a record; arguments and errors as for `provide_variant`."""
    variant = record.variant
    if variant.sources is None:
        raise UserError(f"'{variant.name}' comes from outside, and the record has not its source (schema 1)")
    if not trust:
        lines = sum(len(text.splitlines()) for name, text in variant.sources.items() if name.endswith(".py"))
        raise UserError(
            f"'{variant.name}' comes from outside: reproducing it executes {lines} lines of Python from the record "
            "(variant.sources); read them, then say --trust"
        )
    tree = folder / f"source-{sha256_texts(variant.sources)[:12]}"
    shutil.rmtree(tree, ignore_errors=True)  # what else lies there might be imported
    for name, text in variant.sources.items():
        write_atomically(tree / name, text.encode())
    for other in [other for other in VARIANTS.values() if not other.is_own]:  # the record's have the same names
        del VARIANTS[other.name]
    path = tree / next(iter(variant.sources))
    if variant.name not in extension.load(path):
        raise UserError(f"the source in the record ({path}) registers no variant '{variant.name}'")


def plan_of_record(record: Record) -> Plan:
    """The plan of a record's run. The variant must be registered.

    Raises:
      UsageError: there is no such task.
      UserError: the configuration does not consist of plain values, or does not fit this version of lra.
    """
    task, ours = record.task, task_named(record.task.name, None)
    if task.version != (here := ours.version):
        raise UserError(
            f"the record is of {task.name} {task.version}, here it is {here}, with other examples; "
            f"take the lra of that time{commit_of(record)}"
        )
    try:
        bindings = layered(parse("\n".join(lines_of(record)), "the record's configuration"))
        plan = traced(plan_of(spec_of(record), ours, bindings))
    except UsageError as error:  # the record is wrong, not the call
        raise UserError(
            f"the configuration in the record does not fit this lra ({error}){commit_of(record)}"
        ) from error
    if fields_of(plan.source) != task.parameters:
        raise UserError("the record's task.parameters are not those of its configuration")
    return plan


def spec_of(record: Record) -> RunSpec:
    """The spec of a record's run. It imports no files, since the record has the source of the variant."""
    seeds = tuple(seed.seed for seed in record.seeds)
    return RunSpec(record.task.name, record.variant.name, record.protocol.name, seeds, record.protocol.overrides)


def lines_of(record: Record) -> list[str]:
    """The bindings of a record's configuration, without the settings from outside. Each value is plain."""
    bindings = values(record).items()
    return [f"{name} = {value}" for name, value in bindings if not is_outside(name)]


def commit_of(record: Record) -> str:
    """The commit of a record in words, for errors; empty if it is not known."""
    git = record.measured.git
    return f"; it was made at commit {git['commit']}" if git and isinstance(git.get("commit"), str) else ""


def data_of(plan: Plan, record: Record, display: Display) -> Prepared:
    """The prepared data of a record's run. Generated tasks are prepared if they are not yet.

    Raises:
      UserError: the task is not prepared and cannot be generated, or the prepared data differ; the message names the
        command that prepares them.
    """
    task, source = plan.task, plan.source
    command = prepare_command(task, None, lines_of(record))
    if task.origin == "generated" and folder_of(task, source) not in prepared_folders(task):
        with display.bar(f"{task.name}: preparing", sum(source.sizes.values())) as bar:
            prepare(task, source, workers=len(os.sched_getaffinity(0)), advance=bar.advance)
    data = load(task, source, command)
    if data.data_sha256 != record.task.data_sha256:
        raise UserError(
            f"the record's {task.name} is {record.task.data_sha256[:12]}, what is prepared here is "
            f"{data.data_sha256[:12]} (origin: {data.manifest['origin']}); prepare it from the record's: "
            f"{command} --force"
        )
    return data


def run_again(record: Record, results: Path, trust: bool, display: Display, stop: threading.Event) -> Record:
    """Trains and scores the run of a record again. A repetition that was stopped continues.

    Args:
      results: the folder for the new results; it must not hold the record.
      trust: whether the source in the record may be executed.
      stop: once set, the run saves a checkpoint and ends.

    Raises:
      Interrupted: `stop` was set.
      UsageError, UserError: as `provide_variant`, `plan_of_record`, `data_of` and `execute`.
    """
    if not record.seeds:
        raise UserError(f"run {record.run} came to nothing ({record.status}); there is no outcome to compare with")
    provide_variant(record, results, trust)
    plan = plan_of_record(record)
    data = data_of(plan, record, display)
    before = store.find(results, plan.run_id(data.data_sha256))
    kernels = "xla" if record.measured.kernels is None else record.measured.kernels  # before schema 6 all were XLA's
    with display.bar(plan.variant.name, plan.train.steps, work_beside_steps(plan, data)) as bar:
        return execute(plan, data, results, bar=bar, stop=stop, anew=before is not None, kernels=kernels)


def compare_with(record: Record, again: Record) -> Reproduction:
    """Whether a repeated run has the outcome of its record.

    It is the same within noise if the parameter counts are equal, as many seeds diverged, the intervals of the means
    overlap, and the paired test of the predictions finds no difference (p >= 0.05). Without predictions the test is
    Welch's.
    """
    reasons = [*differences(sorted_by_seed(record), again)]
    if not reasons:
        return Reproduction("to the bit", ())
    compared = comparison.compare(comparison.row([record]), comparison.row([again]))
    noise = (
        record.parameters == again.parameters
        and compared.a.diverged == compared.b.diverged
        and not compared.significant
        and overlap(compared.a.interval, compared.b.interval)
    )
    reasons.append(comparison.sentence(compared))
    return Reproduction("within noise" if noise else "not", tuple(reasons))


def sorted_by_seed(record: Record) -> Record:
    """The record with its seeds in ascending order, which is the order of a new run."""
    places = sorted(range(len(record.seeds)), key=lambda place: record.seeds[place].seed)
    sort = lambda values: tuple(values[place] for place in places)
    curve = (replace(line, loss=sort(line.loss), accuracy=sort(line.accuracy)) for line in record.curve)
    return replace(record, seeds=sort(record.seeds), curve=tuple(curve))


def differences(record: Record, again: Record) -> list[str]:
    """The differences between two records of one run in words. Measurements are not compared."""
    reasons = []
    if record.parameters != again.parameters:
        reasons.append(f"{again.parameters:,} parameters instead of {record.parameters:,}")
    for old, new in zip(record.seeds, again.seeds):
        if old.status != new.status or old.step != new.step:
            reasons.append(f"seed {old.seed}: {new.status} at step {new.step}, was {old.status} at {old.step}")
        elif old.predictions and new.predictions and old.predictions != new.predictions:
            was, now = (unpack(packed, f"seed {old.seed}") for packed in (old.predictions, new.predictions))
            reasons.append(f"seed {old.seed}: {(was != now).sum():,} of {len(was):,} predictions differ")
        elif (old.test, old.validation) != (new.test, new.validation):
            reasons.append(f"seed {old.seed}: other losses with the same predictions")
    if record.curve != again.curve:
        pairs = zip(record.curve, again.curve)
        step = next((old.step for old, new in pairs if old != new), "the end")
        reasons.append(f"the curves differ from step {step} on")
    if reasons and record.config_sha256 != again.config_sha256:
        lines, others = (set(one.config.splitlines()) for one in (record, again))
        reasons.append(f"this lra has other parameters: {', '.join(sorted(lines ^ others)) or 'in another notation'}")
    return reasons


def overlap(one: Interval | None, other: Interval | None) -> bool:
    """Whether two intervals overlap. An interval without limits overlaps with all."""
    if one is None or other is None or None in (*one, *other):
        return True
    return one.low <= other.high and other.low <= one.high  # type: ignore[operator]
