"""Times the harness beside a bare loop over the same model and batches: training, evaluation, and three seeds together.

The bare loop is what one writes by hand: a compiled step of a model and its optimiser, called in a loop. It has no
feed, no log, no bar, nothing that ends a run in order. Both take turns in one process.
"""

import functools
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from lra import settings
from lra.bench.report import Report
from lra.bench.timing import Timing, enough, seconds
from lra.evaluation import Evaluator
from lra.models.encoder import begin_step
from lra.order import Order, lengths_of
from lra.plan import Plan, resolve
from lra.recipe import merged
from lra.spec import RunSpec
from lra.tasks import Split
from lra.tasks.prepared import Prepared
from lra.trainer import Trainer

RECIPES: dict[str, tuple[str, str, list[str], int]] = {  # task, protocol, overrides, test examples
    "listops, demo": ("listops", "demo", ["train.select = 'last'"], 2000),
    "text, batch 2": ("text", "paper", ["train.batch_size = 2", "train.eval_batch_size = 4"], 16),
}
SEEDS = (0, 1, 2)
TOGETHER = "listops, demo"  # the recipe of which three seeds are trained together
TRAINING, EVALUATION, SEEDS_TOGETHER = "training", "evaluation", f"{len(SEEDS)} seeds"
TRAIN = 1000  # training examples
ROUNDS = 7
LEAST = 2.0  # the least seconds of a measurement: a few dispatches of the harness

KEYS = ("recipe", "what")
HEADER = ("recipe", "what", "harness, ms", "bare loop, ms", "ratio", "+-")


def cells(row: dict[str, Any]) -> list[str]:
    """The cells of a row. The bare loop of three seeds is three times the harness with one."""
    numbers = f"{row['ms']:.4g}", f"{row['bare_ms']:.4g}", f"{row['ratio']:.3f}", f"{row['spread']:.3f}"
    return [row["recipe"], row["what"], *numbers]


def bench(report: Report) -> Iterator[dict[str, Any]]:
    """Measures the rows that the report lacks, adds them to it and yields them.

    The times are those of a step, and of an evaluation of the test split. Examples are random, with random lengths.
    """
    for recipe in RECIPES:
        kinds = [TRAINING, EVALUATION, *[SEEDS_TOGETHER] * (recipe == TOGETHER)]
        if not any(report.wants(recipe=recipe, what=what) for what in kinds):
            continue
        for what, own, bare in measured(recipe, SEEDS_TOGETHER in kinds):
            ratio = ratio_of(own, bare)
            row = {"recipe": recipe, "what": what, "ms": 1e3 * np.median(own), "bare_ms": 1e3 * np.median(bare)}
            report.add(row | {"ratio": ratio.seconds, "spread": ratio.spread})
            yield report.rows[report.key(row)]


def measured(recipe: str, together: bool) -> Iterator[tuple[str, list[float], list[float]]]:
    """What was measured of a recipe, with the times of the harness and of what it is compared with, round by round."""
    plan = plan_of(recipe, SEEDS[:1])
    data = random_data(plan, RECIPES[recipe][-1])
    bare = BareLoop(plan, data)
    few = enough(bare)
    steps = math.ceil(LEAST * few / seconds(bare, few))
    with tempfile.TemporaryDirectory() as folder:
        harness = Harness(plan_of(recipe, SEEDS[:1], steps), data, Path(folder, "one"))
        runs: dict[str, Callable[[int], Any]] = {"harness": harness, "bare": bare}
        if together:
            runs["three"] = Harness(plan_of(recipe, SEEDS, steps), data, Path(folder, "three"))
        times = in_rounds(runs, steps)
        yield TRAINING, times["harness"], times["bare"]
        if together:
            yield SEEDS_TOGETHER, times["three"], [len(SEEDS) * time for time in times["harness"]]
        evaluator, state = harness.trainer.evaluator, harness.trainer.state
        passes = BarePasses(plan, data.splits["test"], evaluator, state)
        whole = lambda _: evaluator("test", state.params, state.buffers, lambda: None, lambda count: None)
        times = in_rounds({"harness": whole, "bare": passes}, 1)
        yield EVALUATION, times["harness"], times["bare"]


def plan_of(recipe: str, seeds: tuple[int, ...], steps: int = 1) -> Plan:
    """The plan of the Transformer by a recipe. Nothing is validated."""
    task, protocol, overrides, _ = RECIPES[recipe]
    return resolve(RunSpec(task, "transformer", protocol, seeds, merged(overrides, [f"train.steps = {steps}"])))


def random_data(plan: Plan, test: int) -> Prepared:
    """Random examples of a task, with random lengths; as many for the test as said, none for validation."""
    rng, longest = np.random.default_rng(0), plan.source.max_length

    def split(count: int) -> Split:
        lengths = rng.integers(longest // 4, longest + 1, count).astype(np.int32)
        inputs = rng.integers(1, plan.task.vocab_size, (count, longest)).astype(np.uint8)
        inputs[np.arange(longest) >= lengths[:, None]] = 0
        return Split(inputs, lengths, rng.integers(0, plan.task.num_classes, count).astype(np.int32))

    return Prepared(plan.task, Path(), {}, {"train": split(TRAIN), "validation": split(0), "test": split(test)})


def in_rounds(runs: Mapping[str, Callable[[int], Any]], count: int) -> dict[str, list[float]]:
    """The seconds of a repetition in each round, after one that is not counted. Every other round goes backwards."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for index in range(ROUNDS + 1):
        for name in [*runs][:: 1 if index % 2 else -1]:
            time = seconds(runs[name], count) / count
            if index:
                times[name].append(time)
    return times


def ratio_of(times: Sequence[float], others: Sequence[float]) -> Timing:
    """The median of the ratios of the rounds, and half of their range without the lowest and the highest."""
    ratios = sorted(np.array(times) / np.array(others))
    return Timing(float(np.median(ratios)), float(ratios[-2] - ratios[1]) / 2)


class Harness:
    """Trains with the harness, all but evaluation and checkpoints, which are measured by themselves."""

    def __init__(self, plan: Plan, data: Prepared, folder: Path):
        self.trainer = Trainer(plan, data, folder)
        self.compiled, *_ = self.trainer.compile()

    @settings.fixed()
    def __call__(self, steps: int) -> Any:
        self.trainer.step, self.trainer.saved = 0, steps
        self.trainer.train_to_the_end(self.compiled)
        return self.trainer.state


def split_model(model: nnx.Module) -> tuple[Any, Any, Any]:
    """The structure of a model, its parameters, and all else."""
    return nnx.split(model, nnx.Param, ...)  # type: ignore[return-value]


class BareLoop:
    """Train steps of one seed, one after the other, with the data on the device."""

    @settings.fixed()
    def __init__(self, plan: Plan, data: Prepared):
        optimizer = plan.train.optimizer.transform()
        graph, params, rest = split_model(plan.fresh_model(0))
        self.state = params, rest, optimizer.init(params)
        self.train = jax.device_put(data.splits["train"])
        self.order = Order(lengths_of(data.splits["train"]), plan.train.batch_size)
        key = jax.random.fold_in(jax.random.key(0), 1)

        @functools.partial(jax.jit, donate_argnums=0)
        def step(state: Any, index: jax.Array, rows: jax.Array, train: Split) -> Any:
            params, rest, moments = state
            batch = jax.tree.map(lambda column: column[rows], train)

            def loss_of(params: Any) -> tuple[jax.Array, Any]:
                model = nnx.merge(graph, params, rest, copy=True)
                begin_step(model, jax.random.fold_in(key, index), index)
                logits = model(batch.inputs, batch.lengths).astype(jnp.float32)
                loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels).mean()
                return loss, split_model(model)[2]

            (_, rest), gradients = jax.value_and_grad(loss_of, has_aux=True)(params)
            updates, moments = optimizer.update(gradients, moments, params)
            return optax.apply_updates(params, updates), rest, moments

        self.step = step

    @settings.fixed()
    def __call__(self, steps: int) -> Any:
        for index in range(steps):
            self.state = self.step(self.state, index, self.order.rows(0, index), self.train)
        return self.state


class BarePasses:
    """Forward passes over the batches that an evaluator makes of a split, which are on the device."""

    @settings.fixed()
    def __init__(self, plan: Plan, split: Split, evaluator: Evaluator, state: Any):
        model = plan.fresh_model(0)
        model.eval()
        graph, _, rest = split_model(model)
        self.params = jax.tree.map(lambda leaf: leaf[0], state.params)
        self.forward = jax.jit(lambda params, batch: nnx.merge(graph, params, rest)(batch.inputs, batch.lengths))
        self.batches = []
        padded = evaluator.padded("test")
        for size in evaluator.sizes:
            rows = np.flatnonzero(padded == size)
            for start in range(0, len(rows), evaluator.batch):
                own = rows[np.minimum(np.arange(start, start + evaluator.batch), len(rows) - 1)]
                batch = Split(split.inputs[own, :size], split.lengths[own], split.labels[own])
                self.batches.append(jax.device_put(batch))

    @settings.fixed()
    def __call__(self, times: int) -> Any:
        return [self.forward(self.params, batch) for _ in range(times) for batch in self.batches]
