"""The quantities of a variant besides step time: parameter counts, operations and memory, checks, accuracy."""

import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from lra import settings, targets
from lra.bench import hlo
from lra.bench.steps import Steps
from lra.checks import check_variant
from lra.checks.growth import operations
from lra.ci.baseline import Program, Trained, Workload
from lra.parameter_budget import parameter_counts
from lra.plan import Plan, resolve
from lra.recipe import merged
from lra.spec import RunSpec
from lra.tasks import prepared
from lra.trainer import Trainer

TRACED = "traced"  # the program before any compiler


def plan_of(name: str, workload: Workload, overrides: Sequence[str], seeds: Sequence[int] = (0,)) -> Plan:
    """The plan of the short training of a variant."""
    bindings = merged(workload.training, workload.bindings, overrides)
    return resolve(RunSpec(workload.task, name, workload.protocol, tuple(seeds), bindings))


def steps_of(name: str, workload: Workload, overrides: Sequence[str]) -> Steps:
    """The train step whose cost is measured."""
    bindings = merged(workload.bindings, overrides, workload.step)
    return Steps(resolve(RunSpec(workload.task, name, workload.protocol, (0,), bindings)))


def parameters(name: str, workload: Workload, overrides: Sequence[str]) -> dict[str, int]:
    """The parameter counts of the model that is trained here, and of the models of protocol paper."""
    counts = {f"{workload.task}, {workload.protocol}": plan_of(name, workload, overrides).parameters}
    of_paper = parameter_counts(name, merged(workload.bindings, overrides))
    return counts | {f"{task}, paper": count for task, count in of_paper.items()}


@settings.fixed()
def programs(name: str, workload: Workload, overrides: Sequence[str]) -> dict[str, Program]:
    """Operations and memory of a train step: traced, on the device at hand, and on each target with a compiler."""
    steps = steps_of(name, workload, overrides)
    leaves, tree = jax.tree.flatten((steps.state, jnp.int32(1)))
    step = lambda *leaves: steps.run(*jax.tree.unflatten(tree, leaves))
    traced = Program(operations=operations(jax.make_jaxpr(step)(*leaves)), bytes=None)
    compiled = {settings.device().platform: steps.compiled}
    for target in targets.installed():
        compiled[target] = compiled.get(target) or targets.compile_for(target, step, *leaves)
    return {TRACED: traced} | {target: program(one) for target, one in compiled.items()}


def program(compiled: jax.stages.Compiled) -> Program:
    """The cost of a compiled program."""
    memory = compiled.memory_analysis()
    bytes_ = memory.argument_size_in_bytes + memory.temp_size_in_bytes if memory else None
    return Program(operations=hlo.cost(compiled.as_text() or "").operations, bytes=bytes_)


def compilers() -> dict[str, dict[str, str]]:
    """The versions of the packages that decide the costs on each target.

    The kind and number of CPU cores do not matter: XLA reports the same operations and memory for all of them.
    """
    own = versions_of("jax", "jaxlib")
    packages = {TRACED: versions_of("jax"), settings.device().platform: own}
    for target in targets.installed():
        packages[target] = own | versions_of(*targets.packages(target))
    return packages


def versions_of(*packages: str) -> dict[str, str]:
    """The versions of those packages that are installed."""
    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def checks(name: str, workload: Workload, overrides: Sequence[str]) -> dict[str, tuple[str, str]]:
    """The status of each check, and its findings in words."""
    results = check_variant(name, merged(workload.bindings, overrides))
    return {result.check: (result.status, "; ".join(result.details)) for result in results}


def training(name: str, workload: Workload, overrides: Sequence[str]) -> tuple[Trained, ...]:
    """The test scores of all seeds after the short training."""
    plan = plan_of(name, workload, overrides, workload.seeds)
    data = prepared.load(plan.task, plan.source, plan.prepare_command)
    with tempfile.TemporaryDirectory() as folder:
        try:
            outcome = Trainer(plan, data, Path(folder)).train_and_score()
        except Exception as error:
            raise plan.variant.blame(error) from error
    return tuple(
        Trained(
            seed=seed.seed,
            accuracy=seed.test.accuracy if seed.test else None,
            loss=seed.test.loss if seed.test else None,
        )
        for seed in outcome.seeds
    )


# the slowest quantity comes first, so that all workers end at about the same time
QUANTITIES: dict[str, Callable[[str, Workload, Sequence[str]], Any]] = {
    "training": training,
    "checks": checks,
    "programs": programs,
    "parameters": parameters,
}
