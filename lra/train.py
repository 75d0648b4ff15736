"""The train step. A dispatch runs many steps of all seeds, with the data on the device."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from lra import convolution, settings
from lra.errors import UserError
from lra.model_tree import model_tree
from lra.models.encoder import begin_part, begin_step
from lra.models.kernels.softmax.dropout import part_of_batch
from lra.placement import DATA, SEED, Placement, placement_of
from lra.plan import Plan
from lra.tasks import Split

Tree = Any
jax.tree_util.register_dataclass(
    Split, data_fields=["inputs", "lengths", "labels"], meta_fields=[], drop_fields=["bins"]
)


class TrainState(NamedTuple):
    """The train state of one seed. In a run each leaf has a leading axis of seeds.

    Attributes:
      params: the trainable parameters.
      buffers: all other variables of the model.
      optimizer: the state of the optimiser.
      diverged_at: the step whose loss was not finite, -1 if there is none. The state does not change after that step.
      loss: the sum of the mean losses (nats) since the last line of the log.
      correct: the number of right answers since the last line of the log; with a label for each token, the sum of
        the shares that were right in each example.
    """

    params: Tree
    buffers: Tree
    optimizer: Tree
    diverged_at: Int[Array, ""]
    loss: Float[Array, ""]
    correct: Float[Array, ""]


class Best(NamedTuple):
    """The parameters with the highest validation accuracy so far. Each leaf has a leading axis of seeds."""

    params: Tree
    buffers: Tree
    accuracy: Float[Array, ""]
    step: Int[Array, ""]


class Answers(NamedTuple):
    """The answers of some seeds to batches of examples.

    Attributes:
      loss: in nats.
      prediction: the predicted classes.
    """

    loss: Float[Array, "seeds batches batch"]
    prediction: Int[Array, "seeds batches batch *tokens"]


class StepFunctions(NamedTuple):
    """The pure functions of a plan. Each works on all s seeds at once.

    Attributes:
      init: seeds -> TrainState. It raises UserError if the built model is not the plan's.
      run: (state, keys [s], first step, number of steps n, rows [at least n, s, batch], train split, length) ->
        TrainState. `rows` are the positions of the examples in the split. `length`, a Python number, is that of the
        longest example in the batches, or more; None for that of the split's arrays.
      evaluate: (params, buffers, batches, first batch, number of batches n, Answers) -> Answers with those of n batches
        filled in. `batches` is a split with axes [batches, batch] in place of the examples'.
    """

    init: Callable[..., TrainState]
    run: Callable[..., TrainState]
    evaluate: Callable[..., Answers]


@settings.fixed()
def step_functions(plan: Plan, placement: Placement | None = None) -> StepFunctions:
    """The pure functions of a plan.

    Args:
      placement: where the arrays of its programs are; None for one device.
    """
    placement = placement or placement_of(1, 1)

    def split_model(model: nnx.Module) -> tuple[Any, Tree, Tree, Tree]:
        return nnx.split(model, nnx.Param, nnx.RngState, ...)  # type: ignore[return-value]

    optimizer = plan.train.optimizer.transform()
    # every step reseeds the random streams, so that they are not part of the train state
    some = convolution.mend(plan.model(nnx.Rngs(params=0, dropout=0)))
    train_graph, _, streams, _ = split_model(some)
    some.eval()
    eval_graph = split_model(some)[0]

    def init(seeds: Sequence[int]) -> TrainState:
        # not compiled: JAX caches the single operations, which are the same for all variants
        def params_and_buffers(seed: int) -> tuple[Tree, Tree]:
            _, params, _, buffers = split_model(plan.fresh_model(seed))
            return params, buffers

        params, buffers = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(params_and_buffers, seeds))
        hold_to_plan(plan, params, buffers)
        zeros = jnp.zeros(len(seeds), jnp.int32)
        sums = zeros.astype(float), zeros.astype(float)  # two arrays, since the train step takes over each
        return TrainState(params, buffers, jax.vmap(optimizer.init)(params), zeros - 1, *sums)

    def loss_of(params: Tree, buffers: Tree, rng: Tree, batch: Split) -> tuple[Array, tuple[Array, Tree]]:
        model = nnx.merge(train_graph, plan.narrowed(params), rng, buffers, copy=True)
        logits = model(batch.inputs, batch.lengths).astype(jnp.float32)
        losses, right = scored(logits, batch.labels)
        return losses.mean(), (right.sum(), split_model(model)[3])

    def gradients_of(params: Tree, buffers: Tree, rng: Tree, key: Key[Array, ""], parts: Split) -> tuple[Any, Tree]:
        """The loss, the right answers, the buffers and the gradients of a batch that is computed part by part."""
        gradients = jax.value_and_grad(loss_of, has_aux=True)
        count = len(parts.labels)
        if count == 1:
            return gradients(params, buffers, rng, jax.tree.map(lambda column: column[0], parts))

        def add(sums: Any, part: tuple[Array, Split]) -> tuple[Any, None]:
            (loss, correct, buffers), total = sums
            model = nnx.merge(train_graph, params, rng, buffers, copy=True)
            begin_part(model, key, part[0])
            with part_of_batch(part[0], count):
                (more, (right, buffers)), own = gradients(params, buffers, split_model(model)[2], part[1])
            total = jax.tree.map(lambda x, y: x + y / count, total, own)
            return ((loss + more / count, correct + right, buffers), total), None

        nothing = (jnp.zeros(()), jnp.zeros(()), buffers), jax.tree.map(jnp.zeros_like, params)
        ((loss, correct, buffers), total), _ = jax.lax.scan(add, nothing, (jnp.arange(count), parts))
        return (loss, (correct, buffers)), total

    def step_of_seed(state: TrainState, key: Key[Array, ""], step: Int[Array, ""], parts: Split) -> TrainState:
        model = nnx.merge(train_graph, state.params, streams, state.buffers, copy=True)
        begin_step(model, key := jax.random.fold_in(key, step), step)
        _, params, rng, buffers = split_model(model)
        (loss, (correct, buffers)), gradients = gradients_of(params, buffers, rng, key, parts)
        updates, moments = optimizer.update(gradients, state.optimizer, params)
        fresh = step % plan.train.log_every == 0
        new = TrainState(
            params=optax.apply_updates(params, updates),
            buffers=buffers,
            optimizer=moments,
            diverged_at=state.diverged_at,
            loss=jnp.where(fresh, 0, state.loss) + loss,
            correct=jnp.where(fresh, 0, state.correct) + correct,
        )
        frozen = state._replace(diverged_at=jnp.where(state.diverged_at < 0, step, state.diverged_at))
        alive = (state.diverged_at < 0) & jnp.isfinite(loss)
        return jax.tree.map(lambda new, old: jnp.where(alive, new, old), new, frozen)

    def run(
        state: TrainState, keys: Key[Array, " seeds"], first: Int[Array, ""], count: Int[Array, ""],
        rows: Int[Array, "steps seeds batch"], train: Split, length: int | None = None,
    ) -> TrainState:  # fmt: skip
        train = train.cut(length)
        steps, seeds, batch = rows.shape
        rows = rows.reshape(steps, seeds, -1, plan.train.microbatch or batch)

        def body(index: Int[Array, ""], state: TrainState) -> TrainState:
            parts = jax.tree.map(lambda column: column[rows[index]], train)
            parts = placement.constrain(parts, SEED, None, DATA)
            step = jax.vmap(step_of_seed, in_axes=(0, 0, None, 0), spmd_axis_name=SEED)
            return step(state, keys, first + index, parts)

        # the number of steps is an argument, so that a run that is split elsewhere has the same compiled program
        return jax.lax.fori_loop(0, count, body, state)

    def evaluate(
        params: Tree, buffers: Tree, batches: Split, first: Int[Array, ""], count: Int[Array, ""], answers: Answers
    ) -> Answers:
        def score(params: Tree, buffers: Tree, examples: Split) -> Answers:
            model = nnx.merge(eval_graph, plan.narrowed(params), streams, buffers, copy=True)
            logits = model(examples.inputs, examples.lengths).astype(jnp.float32)
            return Answers(scored(logits, examples.labels)[0], logits.argmax(-1))

        def body(index: Int[Array, ""], answers: Answers) -> Answers:
            examples = jax.tree.map(lambda column: column[index], batches)
            new = jax.vmap(score, in_axes=(0, 0, None), spmd_axis_name=SEED)(params, buffers, examples)
            return jax.tree.map(lambda all, part: all.at[:, index].set(part), answers, new)

        return jax.lax.fori_loop(first, first + count, body, answers)

    return StepFunctions(init, run, evaluate)


def scored(
    logits: Float[Array, "batch *tokens classes"], labels: Int[Array | np.ndarray, "batch *tokens"]
) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
    """The loss of each example in nats, and the share of its labels that was predicted."""
    right = (logits.argmax(-1) == labels).astype(jnp.float32)
    if labels.ndim == 1:
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels), right
    there = labels >= 0
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.where(there, labels, 0))
    count = jnp.maximum(there.sum(-1), 1)
    return jnp.where(there, losses, 0).sum(-1) / count, right.sum(-1) / count


def hold_to_plan(plan: Plan, params: Tree, buffers: Tree) -> None:
    """Compares the built model with the plan, so that a record cannot describe another model.

    Args:
      params, buffers: those of the train state, with a leading axis of seeds.

    Raises:
      UserError: the model trees differ; the message has both parameter counts.
    """
    planned, built = plan.tree, model_tree(params, buffers, seed_axis=True)
    assert planned, "the plan's model has not been traced"
    if built != planned:
        raise UserError(
            f"{plan.variant.name} on {plan.task.name}: the plan's model has {planned.parameters:,} parameters (tree "
            f"{planned.sha256[:12]}), the one that was built {built.parameters:,} (tree {built.sha256[:12]}); "
            "nothing was trained. Does the variant depend on anything but its arguments?"
        )


def keep_best(best: Best, state: TrainState, accuracy: Float[Array, " seeds"], step: Int[Array, ""]) -> Best:
    """Replaces the best parameters of those seeds whose validation accuracy is higher now."""
    better = (accuracy > best.accuracy) & (state.diverged_at < 0)

    def choose(new: Array, old: Array) -> Array:
        return jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    now = Best(state.params, state.buffers, accuracy, jnp.full_like(best.step, step))
    return jax.tree.map(choose, now, best)


def accuracy_of(
    prediction: Int[np.ndarray, "seeds examples *tokens"], labels: Int[np.ndarray, "examples *tokens"]
) -> list[float]:
    """The share of the labels that each seed predicted."""
    there = labels >= 0
    return [int(right[there].sum()) / int(there.sum()) for right in np.asarray(prediction) == labels]
