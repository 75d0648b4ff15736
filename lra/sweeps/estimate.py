"""How long cells will take: as long as equal ones took on such hardware, else by the operations of their models."""

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from lra.checks.growth import operations
from lra.configuration import layered, parse
from lra.errors import UserError
from lra.leaderboard.record import Record
from lra.models.kernels import backends
from lra.plan import Plan, abstract, plan_of
from lra.reproduction import lines_of, spec_of
from lra.tasks import TASKS

# of which an estimate takes the first that there is: runs that are like the cell in this
LIKENESS: tuple[Callable[[Plan], Any], ...] = (
    lambda plan: (plan.train.compute_type, plan.task.name, plan.variant.name),
    lambda plan: (plan.train.compute_type, plan.task.name),
    lambda plan: plan.train.compute_type,
    lambda plan: None,
)


@dataclasses.dataclass(frozen=True)
class Timed:
    """A run whose speed is known, since it has ended or has trained some steps.

    Attributes:
      steps_per_second: one step trains all seeds of the plan.
      hardware: as `environment.hardware` has it.
    """

    plan: Plan
    steps_per_second: float
    compile_seconds: float
    hardware: Mapping[str, Any]


def timed(records: Iterable[Record]) -> list[Timed]:
    """The speeds of records. Those that have none, or whose configuration does not fit this lra, are left out."""
    found = []
    for record in records:
        measured = record.measured
        # the time of a run that was continued elsewhere is of no hardware
        if record.status in ("ok", "diverged") and measured.steps_per_second and "earlier" not in measured.hardware:
            try:
                bindings = layered(parse("\n".join(lines_of(record)), "the record's configuration"))
                plan = plan_of(spec_of(record), TASKS[record.task.name], bindings)
            except (UserError, KeyError):
                continue
            found.append(Timed(plan, measured.steps_per_second, measured.compile_seconds, measured.hardware))
    return found


def estimate(plans: Sequence[Plan], known: Iterable[Timed], hardware: Mapping[str, Any]) -> list[float | None]:
    """How many seconds some runs will take: compilation and all steps, without scoring.

    Args:
      known: runs of any hardware. Only those of the given one count.
      hardware: on which the runs will be trained.

    Returns:
      None for all if no run on such hardware is known, and for a plan whose model cannot be traced.
    """
    here = [one for one in known if kind(one.hardware) == kind(hardware)]
    equal: dict[Any, list[Timed]] = {}
    for one in here:
        equal.setdefault(identity(one.plan), []).append(one)
    rate = cache(lambda name, value: median_rate([one for one in here if LIKENESS[name](one.plan) == value]))

    def seconds(plan: Plan) -> float | None:
        if same := equal.get(identity(plan)):
            return statistics.median(one.compile_seconds + plan.train.steps / one.steps_per_second for one in same)
        work = work_of_step(plan)
        for name, like in enumerate(LIKENESS):
            if work and (found := rate(name, like(plan))):
                per_second, compile_seconds = found
                return compile_seconds + plan.train.steps * work / per_second
        return None

    return [seconds(plan) for plan in plans]


def kind(hardware: Mapping[str, Any]) -> tuple[Any, ...]:
    """What decides the speed: the accelerators, or the processor if there are none."""
    names = ("cpu", "cores") if hardware["platform"] == "cpu" else ()
    return hardware["platform"], hardware["device"], hardware.get("devices", 1), *map(hardware.get, names)


def identity(plan: Plan) -> tuple[Any, ...]:
    """What runs of one speed have in common: everything but which seeds they are."""
    return plan.variant.name, plan.source_sha256, plan.config_sha256, len(plan.seeds)


def median_rate(known: Sequence[Timed]) -> tuple[float, float] | None:
    """The median operations a second of some runs, and of the seconds they compiled; None if nothing is known."""
    rates = [one.steps_per_second * work for one in known if (work := work_of_step(one.plan))]
    return (statistics.median(rates), statistics.median(one.compile_seconds for one in known)) if rates else None


def work_of_step(plan: Plan) -> float | None:
    """The operations of a plan's model on the batches of a step of all seeds; None if the model cannot be traced."""
    alike = dataclasses.replace(plan, spec=dataclasses.replace(plan.spec, seeds=(0,)), tree=None)
    try:
        return len(plan.seeds) * operations_of(alike)
    except UserError:
        return None


@cache
def operations_of(plan: Plan) -> float:
    """The operations of a forward pass of one seed on a batch of texts of the whole length, from shapes alone.

    A pass in training takes about three times as many.

    Raises:
      UserError: the variant raised.
    """
    counted = []

    def count() -> None:
        shape = (plan.train.batch_size, *([plan.task.documents] if plan.task.documents > 1 else []))
        graph, state = nnx.split(nnx.eval_shape(lambda: plan.model(nnx.Rngs(params=0, dropout=0))))

        def forward(state: nnx.State) -> jax.Array:
            tokens = jnp.zeros((*shape, plan.source.max_length), jnp.uint8)
            return nnx.merge(graph, state)(tokens, jnp.full(shape, plan.source.max_length))

        counted.append(operations(jax.make_jaxpr(forward)(state)))

    with backends.use("xla"):  # what a kernel does inside is not counted
        abstract(plan.variant, count)
    return counted[0]
