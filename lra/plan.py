"""A plan is all that decides a run: task, variant, configuration and seeds, each of them checked, and their hash."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

import gin
import jax
import jax.numpy as jnp
import optax
from flax import nnx

from lra import extension
from lra.errors import UsageError, UserError, one_line, unknown
from lra.files import sha256_text
from lra.leaderboard.record import Identity
from lra.models.attention import VARIANTS, Variant
from lra.models.encoder import Classifier, EncoderConfig
from lra.models.pair import PairClassifier, PairConfig
from lra.optimizer import Schedule, adamw
from lra.tasks import TASKS, Source, Task

GIN = Path(str(files("lra.gin").joinpath("tasks"))).parent
SELECTIONS = ("last", "best")
T = TypeVar("T")


@gin.configurable("train")
@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How long a run trains and what of it is scored.

    Attributes:
      steps, log_every, eval_every: in optimiser steps; evaluation is on the whole validation split.
      batch_size, eval_batch_size: in examples, for each seed.
      select: "last" scores the parameters after the last step, "best" those with the highest validation accuracy;
        a task without a validation split has only the last.
    """

    steps: int = gin.REQUIRED
    batch_size: int = 32
    log_every: int = 50
    eval_every: int = 500
    eval_batch_size: int = 64
    select: str = "last"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is int and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise UsageError(f"train.{field.name} = {value!r} is not a whole number of at least 1")
        if self.select not in SELECTIONS:
            raise unknown("selection", self.select, SELECTIONS)


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that decides the outcome of a run.

    Attributes:
      overrides: gin bindings given by hand, normalised and sorted.
      config: the operative gin configuration.
      parameters: trainable ones of one seed.
      pair: how two documents meet; None for a task of single ones.
      variant_source: the file of an imported variant.
    """

    task: Task
    source: Source
    variant: Variant
    protocol: str
    seeds: tuple[int, ...]
    overrides: tuple[str, ...]
    encoder: EncoderConfig
    pair: PairConfig | None
    train: TrainConfig
    optimizer: optax.GradientTransformation
    schedule: Schedule
    config: str
    parameters: int
    variant_source: str | None

    @property
    def source_sha256(self) -> str | None:
        return None if self.variant_source is None else sha256_text(self.variant_source)

    @property
    def config_sha256(self) -> str:
        return sha256_text(self.config)

    def run_id(self, data_sha256: str) -> str:
        """The name of the run on given data."""
        return Identity(
            self.task.name, self.task.version, data_sha256, self.variant.name, self.variant.version, self.source_sha256,
            self.protocol, self.config_sha256, self.seeds,
        ).run  # fmt: skip

    @property
    def prepare_command(self) -> str:
        return prepare_command(self.task, self.protocol, self.overrides)

    def model(self, rngs: nnx.Rngs) -> Classifier | PairClassifier:
        shape = (self.task.vocab_size, self.source.max_length, self.task.num_classes)
        if self.pair:
            return PairClassifier(self.encoder, self.pair, self.variant, *shape, rngs)
        return Classifier(self.encoder, self.variant, *shape, rngs)


def prepare_command(task: Task, protocol: str | None, overrides: Sequence[str]) -> str:
    """The command that prepares a task as a protocol and bindings given by hand have it."""
    words = ["lra prepare", task.name, *([f"--protocol {protocol}"] if protocol else [])]
    return " ".join([*words, *(f"--gin '{line}'" for line in overrides if line.startswith(f"{task.name}."))])


def protocols() -> list[str]:
    return sorted(path.name for path in (GIN / "protocols").iterdir() if path.is_dir())


def task_of(name: str, protocol: str | None) -> Task:
    """The task of that name, or the synthetic stand-in on which a protocol has it run, a task of its own.

    Raises:
      UsageError: there is no such task.
    """
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    stand_in = f"synthetic_{name}"
    recipes = GIN / "protocols" / (protocol or "")
    if stand_in in TASKS and (recipes / f"{stand_in}.gin").is_file() and not (recipes / f"{name}.gin").is_file():
        return TASKS[stand_in]
    return TASKS[name]


def configure(task: Task, variant: str | None, protocol: str | None, overrides: Sequence[str]) -> tuple[str, ...]:
    """Replaces gin's configuration by that of a task, variant and protocol, then the overrides, in this order.

    A protocol's `TASK/VARIANT.gin`, where there is one, overrides its `TASK.gin`.

    Returns:
      the overrides, normalised and sorted.

    Raises:
      UsageError: a protocol is not there, or a binding is not valid; names the nearest that is.
    """
    found = [GIN / "tasks" / f"{task.name}.gin"]
    if variant:
        found.append(GIN / "variants" / f"{variant}.gin")
    if protocol:
        if protocol not in protocols():
            raise unknown("protocol", protocol, protocols())
        recipe = GIN / "protocols" / protocol / f"{task.name}.gin"
        if not recipe.is_file():
            raise UsageError(f"protocol '{protocol}' has no recipe for {task.name} ({recipe} is not there)")
        found += [GIN / "protocols" / f"{protocol}.gin", recipe]
        if variant:
            found.append(recipe.parent / task.name / f"{variant}.gin")
    gin.clear_config()
    for path in found:
        if path.is_file():
            gin.parse_config_file(str(path))
    bind(overrides)
    return tuple(sorted(re.sub(r"\s*=\s*", " = ", binding.strip(), count=1) for binding in overrides))


def bind(overrides: Sequence[str]) -> None:
    """Adds bindings given by hand to gin's configuration.

    Raises:
      UsageError: one is not valid; names the nearest that is.
    """
    for binding in overrides:
        try:
            gin.parse_config([binding])
        except (ValueError, SyntaxError, TypeError) as error:
            raise bad_binding(binding, str(error)) from error


def bad_binding(binding: str, reason: str) -> UsageError:
    """What is wrong with a gin binding, and the nearest that would be right."""
    selector, _, name = binding.partition("=")[0].strip().rpartition(".")
    configurables = ["train", "encoder", "pair", "adamw", "rsqrt", "cosine", *TASKS, *VARIANTS]
    if "No configurable matching" in reason and "@" not in reason:
        return UsageError(f"--gin '{binding}': {unknown('configurable', selector or name, configurables)}")
    if "doesn't have a parameter" in reason:
        import inspect

        target = gin.get_configurable(selector)
        known = [parameter for parameter in inspect.signature(target).parameters if parameter not in ("rngs", "shape")]
        return UsageError(f"--gin '{binding}': {unknown(f'parameter of {selector}', name, known)}")
    return UsageError(f"--gin '{binding}': {reason.splitlines()[0]}; a binding reads like 'train.steps = 500'")


def built(make: Callable[[], T], recipe: str) -> T:
    """What gin makes of a configurable, its errors in one line.

    Raises:
      UsageError: a parameter is missing or wrong.
    """
    try:
        return make()
    except UserError as error:
        raise one_line(error) from error
    except (RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"the configuration of {recipe} is wrong: {str(error).splitlines()[0]}") from error


def draft_plan(task: str, variant: str, protocol: str, seeds: Sequence[int], overrides: Sequence[str] = ()) -> Plan:
    """A plan whose every part is checked, but not the model: its configuration and parameters are missing.

    Raises:
      UsageError: a name or a binding that does not exist, or a configuration that contradicts itself.
    """
    found = task_of(task, protocol)
    if variant not in VARIANTS:
        raise unknown("variant", variant, VARIANTS)
    return drafted(found, variant, protocol, seeds, configure(found, variant, protocol, overrides))


def drafted(task: Task, variant: str, protocol: str, seeds: Sequence[int], overrides: tuple[str, ...]) -> Plan:
    """The draft of a plan from gin's configuration as it stands, wherever that came from.

    Raises:
      UsageError: as `draft_plan`.
    """
    if not seeds or len(set(seeds)) < len(seeds) or not all(0 <= seed < 1 << 32 for seed in seeds):
        raise UsageError(f"seeds {','.join(map(str, seeds))} are not different whole numbers from 0 to 2^32 - 1")
    recipe = f"{task.name}, {variant}, {protocol}"
    source = built(task.source, recipe)
    encoder, train = built(EncoderConfig, recipe), built(TrainConfig, recipe)
    pair = built(PairConfig, recipe) if task.documents == 2 else None
    optimizer, schedule = built(adamw, recipe)
    if train.select == "best" and not source.sizes["validation"]:
        raise UsageError(f"{task.name} has no validation split here, so train.select = 'best' cannot be")
    return Plan(
        task, source, VARIANTS[variant], protocol, tuple(seeds), overrides, encoder, pair, train, optimizer, schedule,
        config="", parameters=0, variant_source=extension.source_of(variant),
    )  # fmt: skip


def make_plan(task: str, variant: str, protocol: str, seeds: Sequence[int], overrides: Sequence[str] = ()) -> Plan:
    """Checks every part of a run, and its model by calling it once without computing anything.

    Raises:
      UsageError: a name or a binding that does not exist, or a configuration that contradicts itself.
      UserError: the variant raised; names its file and line.
    """
    return completed(draft_plan(task, variant, protocol, seeds, overrides))


def completed(plan: Plan) -> Plan:
    """The plan with its configuration and parameters, its model checked.

    Raises:
      UserError: as `make_plan`.
    """

    def call() -> tuple[nnx.State, jax.Array]:
        model = plan.model(nnx.Rngs(params=0, dropout=0))
        shape = (plan.train.batch_size, *([plan.task.documents] if plan.task.documents > 1 else []))
        tokens = jnp.zeros((*shape, plan.source.max_length), jnp.uint8)
        return nnx.state(model, nnx.Param), model(tokens, jnp.full(shape, plan.source.max_length))

    params, _ = abstract(plan.variant, call)
    config = "\n".join(line for line in gin.operative_config_str().splitlines() if line and not line.startswith("#"))
    return dataclasses.replace(plan, config=config + "\n", parameters=size(params))


def abstract(variant: Variant, call: Callable[[], T]) -> T:
    """The shapes that a call would give, so that a variant that cannot work says so before anything is trained."""
    try:
        return jax.eval_shape(call)
    except UserError as error:
        raise one_line(error) from error
    except Exception as error:
        raise variant.blame(error) from error


def size(tree: nnx.State) -> int:
    """The numbers in all its arrays together."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
