"""Measures variants in separate processes, for a baseline or for a comparison with a baseline."""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lra import environment
from lra.bench.variants import BASE
from lra.ci import speed
from lra.ci.baseline import SCHEMA, Baseline, VariantBaseline, Workload
from lra.ci.changes import Failure, Now, differing, flat, slower
from lra.ci.quantities import QUANTITIES, compilers, plan_of
from lra.errors import UserError
from lra.progress import Display
from lra.tasks import prepared
from lra.workers import as_completed

Advance = Callable[[int], Any]


@dataclasses.dataclass(frozen=True)
class Work:
    """The measurements to make.

    Attributes:
      names: the variants.
      overrides: gin bindings that override those of the workload.
      imports: files that register variants.
      workers: the number of processes for all but step times.
    """

    names: Sequence[str]
    workload: Workload
    overrides: Sequence[str]
    imports: Sequence[Path]
    workers: int


def for_baseline(work: Work, advance: Advance) -> Baseline:
    """Measures a whole baseline.

    Raises:
      UserError: a part of a variant cannot be measured.
    """
    data_sha256 = prepare(work)
    # one round of step times before the other measurements and one after them, since speed drifts over minutes
    rounds = [time(work, work.names, advance)]
    parts = all_but_time(work, advance)
    rounds.append(time(work, work.names, advance))
    for name in work.names:
        for failure in parts[name].values():
            if isinstance(failure, Failure):
                raise UserError(f"{name} cannot be measured: {failure.reason}")
        parts[name]["checks"] = {check: status for check, (status, _) in parts[name]["checks"].items()}
        parts[name]["step_time"] = tuple(tuple(samples[name]) for samples in rounds)
    return Baseline(
        schema=SCHEMA,
        hardware=hardware(),
        versions=environment.versions(),
        compilers=compilers(),
        workload=work.workload,
        data_sha256=data_sha256,
        variants={name: VariantBaseline(**parts[name]) for name in sorted(parts)},
    )


def for_comparison(work: Work, then: Baseline, advance: Advance) -> Now:
    """Measures what can be compared with a baseline. Step times are measured only on the same hardware."""
    data_sha256, here = prepare(work), hardware()
    timed = [name for name in work.names if name != BASE and not differing(then.hardware, here)]
    first = time(work, timed, advance)
    parts = all_but_time(work, advance)
    rounds = {name: [samples] for name, samples in first.items() if samples}
    suspects = [name for name in rounds if slower(flat(then.variants[name].step_time), first[name])]
    for name, samples in time(work, suspects, lambda count: None).items():
        rounds[name].append(samples)
    for name in timed:
        parts[name]["step_time"] = rounds.get(name, Failure("no training step could be timed"))
    return Now(here, environment.versions(), compilers(), data_sha256, parts)


def hardware() -> dict[str, Any]:
    """The hardware that decides step times, with the model of the CPU: in a cloud its name may be just "AMD EPYC"."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").split("\n\n")[0].splitlines()
    except OSError:
        lines = []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    kept = {key: facts[key] for key in ("cpu family", "model", "stepping", "cache size") if key in facts}
    return environment.hardware() | kept


def prepare(work: Work) -> str:
    """Prepares the task if necessary. Returns the hash of its data."""
    plan = plan_of(BASE, work.workload, work.overrides)
    with Display() as display, display.bar(f"{plan.task.name}: preparing", sum(plan.source.sizes.values())) as bar:
        prepared.prepare(plan.task, plan.source, workers=work.workers, advance=bar.advance)
    return prepared.load(plan.task, plan.source, plan.prepare_command).data_sha256


def time(work: Work, names: Sequence[str], advance: Advance) -> dict[str, list[float]]:
    """The ratios of step times of some variants, one from each new process of the workload."""
    ratios: dict[str, list[float]] = {name: [] for name in names}
    if not names:
        return ratios
    processes = speed.in_fresh_processes(names, work.workload, work.overrides, work.imports)
    with contextlib.closing(processes):  # type: ignore[type-var]
        for sample in itertools.islice(processes, work.workload.processes):
            for name, ratio in sample.items():
                ratios[name].append(ratio)
            advance(1)
    return ratios


def all_but_time(work: Work, advance: Advance) -> dict[str, dict[str, Any]]:
    """All other parts of each variant. A Failure replaces a part that could not be measured."""
    parts: dict[str, dict[str, Any]] = {name: {} for name in work.names}
    for name, part, value in results(work):
        parts[name][part] = value
        advance(1)
    return parts


def results(work: Work) -> Iterator[tuple[str, str, Any]]:
    """Variant, part and value, in the order in which they are ready."""
    jobs = [(name, part) for part in QUANTITIES for name in work.names]
    begin = functools.partial(speed.begin, work.imports, "")
    for job, value in as_completed(functools.partial(result, work), jobs, work.workers, begin):
        yield *job, value


def result(work: Work, job: tuple[str, str]) -> Any:
    """The value of a part of a variant, or a Failure."""
    name, part = job
    try:
        return QUANTITIES[part](name, work.workload, work.overrides)
    except UserError as error:
        return Failure(str(error))
