"""The plan of a run: all values that decide its outcome, typed, checked and hashed."""

import dataclasses
import functools
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

from lra import extension, settings
from lra.configuration import Bindings, blamed, build, changes, lines, sections_in
from lra.errors import UsageError, UserError
from lra.files import sha256_text, sha256_texts
from lra.leaderboard.integrity import contradictions_of_sources
from lra.leaderboard.record import ENVIRONMENT, Identity
from lra.model_tree import ModelTree, model_tree
from lra.models.attention import VARIANTS, Variant
from lra.models.attention.options import options_dict
from lra.models.encoder import Classifier, EncoderConfig
from lra.models.pair import PairClassifier, PairConfig
from lra.models.precision import narrowed
from lra.recipe import bindings_of, parsed, task_named, variant_named
from lra.spec import RunSpec
from lra.tasks import ARENA, TASKS, Source, Task
from lra.train_config import TrainConfig
from lra.typed import shown

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Plan:
    """All values that decide the outcome of a run. They are frozen.

    A plan can be pickled. The process that unpickles it must have the same variant: the project's own, an installed
    one, or one from a file that the spec imports.

    Attributes:
      spec: the spec of the plan. Its overrides are those that change something of the plan, sorted. The
        paths of its imports are absolute.
      task: the task that is trained, which may be a stand-in.
      source: the parameters of the task's data.
      options: the variant's options, an instance of `variant.options`.
      pair: how the model joins two documents; None for a task of single documents.
      environment: the settings from outside that may change the outcome, of the process that made the plan.
      tree: the model tree; None if the model has not been traced.
    """

    spec: RunSpec
    task: Task
    source: Source
    variant: Variant
    options: Any
    encoder: EncoderConfig
    pair: PairConfig | None
    train: TrainConfig
    environment: settings.Settings = ()
    tree: ModelTree | None = None

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.spec.seeds

    @functools.cached_property
    def config(self) -> str:
        """Every value that decides the outcome, defaults included, as sorted lines `SECTION.PARAMETER = VALUE`."""
        written = [line for part in self.parts().items() for line in lines(*part)]
        written += [f"{ENVIRONMENT}.{name} = {value!r}" for name, value in self.environment]
        return "".join(f"{line}\n" for line in sorted(written))

    @property
    def config_sha256(self) -> str:
        return sha256_text(self.config)

    def parts(self) -> dict[str, Any]:
        """The dataclasses of the plan, by the name of their section."""
        parts = {self.task.name: self.source, self.variant.name: self.options, "encoder": self.encoder}
        return parts | ({"pair": self.pair} if self.pair else {}) | {"train": self.train}

    @property
    def parameters(self) -> int:
        """The parameter count of one seed."""
        assert self.tree, "the plan's model has not been traced"
        return self.tree.parameters

    @property
    def tree_sha256(self) -> str:
        """The hash of the names, shapes and types of its model's variables."""
        assert self.tree, "the plan's model has not been traced"
        return self.tree.sha256

    @functools.cached_property
    def sources(self) -> dict[str, str] | None:
        """The variant's `sources` when the plan was first asked for them; None for the project's own variants.

        Raises:
          UserError: no record could keep them, so that the variant can be checked and built but not trained.
        """
        sources = self.variant.sources
        for problem in contradictions_of_sources(sources, sha256_texts(sources)) if sources else ():
            raise UserError(f"variant '{self.variant.name}' ({self.variant.where}) cannot be recorded: {problem}")
        return sources

    @property
    def source_sha256(self) -> str | None:
        """The hash of `sources`, and its errors."""
        return None if self.sources is None else sha256_texts(self.sources)

    def run_id(self, data_sha256: str) -> str:
        """The name of the run on data with this hash.

        Raises:
          UserError: as `sources`.
        """
        return Identity(
            self.task.name, self.task.version, data_sha256, self.variant.name, self.variant.version,
            self.source_sha256, self.spec.protocol, self.config_sha256, self.seeds,
        ).run  # fmt: skip

    @property
    def prepare_command(self) -> str:
        return prepare_command(self.task, self.spec.protocol, self.spec.overrides, self.spec.imports)

    def model(self, rngs: nnx.Rngs) -> Classifier | PairClassifier:
        """The model with its parameters drawn from keys."""
        shape = (self.task.vocab_size, self.source.max_length, self.task.num_classes)
        if self.pair:
            return PairClassifier(self.encoder, self.pair, self.variant, *shape, rngs, self.options, self.dtype)
        return Classifier(self.encoder, self.variant, *shape, rngs, self.options, self.dtype)

    @property
    def dtype(self) -> jnp.dtype:
        """The compute type."""
        return jnp.dtype(self.train.compute_type)

    def narrowed(self, params: nnx.State) -> nnx.State:
        """Parameters of the model as it computes with them: in the compute type, but for those that stay wide."""
        return narrowed(params, self.dtype, self.variant.wide)

    @settings.fixed()
    def fresh_model(self, seed: int) -> Classifier | PairClassifier:
        """The model with which a seed begins its training."""
        params, dropout = jax.random.split(jax.random.fold_in(jax.random.key(seed), 0))
        return self.model(nnx.Rngs(params=params, dropout=dropout))

    def __getstate__(self) -> dict[str, Any]:
        # functions and classes of a file that another process has not imported cannot be pickled: their names can
        names = {"task": self.task.name, "variant": self.variant.name, "options": options_dict(self.options)}
        return self.__dict__ | names | {"source_sha256": self.source_sha256}

    def __setstate__(self, state: dict[str, Any]) -> None:
        variant = provided(state["variant"], state.pop("source_sha256"), state["spec"].imports)
        task = task_of_name(state["task"], state["spec"].imports)
        values = {"task": task, "variant": variant, "options": variant.options(**state["options"])}
        for name, value in (state | values).items():
            object.__setattr__(self, name, value)


def task_of_name(name: str, imports: Sequence[str]) -> Task:
    """The task of a plan that is unpickled. Its file is loaded if it is not registered."""
    if name not in TASKS:
        extension.load_all(map(Path, imports))
    return task_named(name, None)


def provided(name: str, source_sha256: str | None, imports: Sequence[str]) -> Variant:
    """The variant of a plan that is unpickled. Its file is loaded if the variant is not registered.

    Raises:
      UserError: the variant is not available in this process, or has another source.
    """
    if name not in VARIANTS and source_sha256 is not None:
        extension.load_all(map(Path, imports))
    if name not in VARIANTS:
        raise UserError(f"the plan's variant '{name}' is not registered in this process, and its spec imports no file")
    if VARIANTS[name].source_sha256 != source_sha256:
        raise UserError(
            f"the variant '{name}' of this process ({VARIANTS[name].where}) has another source than the plan's"
        )
    return VARIANTS[name]


def prepare_command(
    task: Task, protocol: str | None, overrides: Sequence[str], imports: Iterable[str | Path] = ()
) -> str:
    """The command that prepares a task under a protocol and bindings given by hand.

    Args:
      imports: the files that were imported, one of which may have the task.
    """
    files = [f"--import {shlex.quote(str(path))}" for path in imports] if task.name not in ARENA else []
    words = ["lra prepare", *files, task.name, *([f"--protocol {protocol}"] if protocol else [])]
    return " ".join([*words, *(f"--gin '{line}'" for line in overrides if line.startswith(f"{task.name}."))])


def resolve(spec: RunSpec) -> Plan:
    """The plan of a spec. Every part is checked; the model is traced once, from shapes alone.

    >>> resolve(RunSpec("listops", "local", "demo")).options.radius
    8

    Raises:
      UsageError: the argument is no RunSpec, a name or a parameter does not exist, or the configuration contradicts
        itself; the message names file and line, or the override.
      UserError: an imported file does not exist or raised, or the variant raised; the message names file and line.
    """
    if not isinstance(spec, RunSpec):
        raise UsageError(f"{shown(spec)} is no run spec; write RunSpec(task, variant, protocol)")
    plan = untraced(spec)
    try:
        return traced(plan)
    except UsageError as error:  # the variant refuses options that contradict each other
        raise blamed(str(error), plan.variant.name, bindings_of_spec(plan.spec, plan.task)) from error


def traced(plan: Plan) -> Plan:
    """The plan with its model tree. The model is traced once, from shapes alone.

    Raises:
      UserError: the variant raised; the message names its file and line. Or no variant can work in this process.
    """
    settings.require()
    params, buffers = trace(plan, plan.train.batch_size, plan.source.max_length)
    return dataclasses.replace(plan, tree=model_tree(params, buffers))


def trace(plan: Plan, batch: int, length: int) -> tuple[nnx.State, nnx.State]:
    """The shapes of the parameters and buffers after a forward pass in training of a batch whose texts have a length.

    Raises:
      UserError: the variant raised; the message names its file and line.
    """

    def call() -> tuple[nnx.State, nnx.State]:
        model = plan.model(nnx.Rngs(params=0, dropout=0))
        shape = (batch, *([plan.task.documents] if plan.task.documents > 1 else []))
        graph, params, rest = nnx.split(model, nnx.Param, ...)  # type: ignore[misc]
        computing = nnx.merge(graph, plan.narrowed(params), rest)
        computing(jnp.zeros((*shape, length), jnp.uint8), jnp.full(shape, length))
        return params, nnx.split(computing, nnx.Param, nnx.RngState, ...)[3]  # type: ignore[misc]

    return abstract(plan.variant, call)


def untraced(spec: RunSpec) -> Plan:
    """The plan of a spec. Its model is not traced, so that `tree` is None.

    Raises:
      UsageError, UserError: as `resolve`.
    """
    extension.load_all(map(Path, spec.imports))
    task = task_named(spec.task, spec.protocol)
    plan = plan_of(spec, task, bindings_of_spec(spec, task))
    sections = {section for part in plan.parts().items() for section in sections_in(*part)}
    files = bindings_of(task, spec.variant, spec.protocol, ())
    used = [binding for binding in parsed(spec.overrides) if binding.section in sections and changes(binding, files)]
    overrides = tuple(sorted(map(str, used)))
    imports = tuple(str(Path(path).resolve()) for path in spec.imports)  # another process may be in another folder
    own = dataclasses.replace(spec, task=task.name, overrides=overrides, imports=imports)
    return dataclasses.replace(plan, spec=own)


def bindings_of_spec(spec: RunSpec, task: Task) -> Bindings:
    """All bindings of a spec: those of the protocol's files and the overrides."""
    return bindings_of(task, spec.variant, spec.protocol, parsed(spec.overrides))


def plan_of(spec: RunSpec, task: Task, bindings: Bindings) -> Plan:
    """The plan of a spec from given bindings. The files of the protocol are not read.

    Raises:
      UsageError: a parameter is missing, or the configuration contradicts itself.
    """
    variant = variant_named(spec.variant)
    source: Source = build(task.name, bindings)
    options, encoder, train = (build(name, bindings) for name in (variant.name, "encoder", "train"))
    pair = build("pair", bindings) if task.documents == 2 else None
    if (encoder.pool == "none") != task.per_token:
        has = "a label for each token, so encoder.pool is 'none'" if task.per_token else "one label an example"
        raise blamed(f"{task.name} has {has} here, encoder.pool = {encoder.pool!r} cannot be", "encoder", bindings)
    if train.select == "best" and not source.sizes["validation"]:
        raise blamed(f"{task.name} has no validation split here, so train.select = 'best' cannot be", "train", bindings)
    return Plan(spec, task, source, variant, options, encoder, pair, train, settings.from_outside())


def abstract(variant: Variant, call: Callable[[], T]) -> T:
    """The shapes and types that a call returns.

    Raises:
      UserError: the variant raised; the message names its file and line.
    """
    try:
        with settings.fixed():
            return jax.eval_shape(call)
    except UserError:
        raise
    except Exception as error:
        raise variant.blame(error) from error
