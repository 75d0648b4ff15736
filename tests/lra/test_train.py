"""The training loop: order, schedules, optimiser, evaluation, divergence, and bits that do not depend on its pieces."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import SMALL, resolved
from flax import nnx

from lra import optimizer
from lra.errors import UserError
from lra.models.encoder import begin_part
from lra.order import Order
from lra.recipe import merged
from lra.tasks import Split
from lra.tasks.prepared import load
from lra.train import Answers, accuracy_of, keep_best, step_functions


def small_plan(*more: str, variant: str = "transformer", seeds=(0, 1, 2)):
    return resolved("listops", variant, "demo", seeds, merged(SMALL, more))


@pytest.fixture
def train(home):
    plan = small_plan()
    return jax.tree.map(jnp.asarray, load(plan.task, plan.source).splits["train"])


def rows_of(plan, first, count, examples):
    order = Order(np.ones(examples, int), plan.train.batch_size)
    rows = [[order.rows(seed, first + i) for seed in plan.seeds] for i in range(count)]
    return jnp.array(rows)


def keys_of(plan):
    return jax.vmap(jax.random.key)(jnp.array(plan.seeds) + 100)


def evaluated(functions, state, split, seeds=3):
    """All answers on a split, which is evaluated as one batch: losses and predictions."""
    batches = jax.tree.map(lambda column: column[None], split)
    shape = seeds, 1, len(split.labels)
    answers = Answers(jnp.zeros(shape), jnp.zeros(shape, jnp.int32))
    answers = jax.jit(functions.evaluate)(state.params, state.buffers, batches, jnp.int32(0), jnp.int32(1), answers)
    return (np.asarray(column)[:, 0] for column in answers)


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def equal(one, other):
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(leaves(one), leaves(other), strict=True))


def test_schedules_reach_the_published_peaks():
    """The peaks of LRA's configurations: ListOps, Text, and Retrieval, whose warm-up ends after its training."""
    listops = optimizer.Rsqrt(base=0.05, warmup=1000)
    assert [float(listops(step)) for step in (0, 500, 1000, 4000)] == pytest.approx(
        [0, 7.906e-4, 1.581e-3, 7.906e-4], rel=1e-3
    )
    assert float(optimizer.Rsqrt(base=0.05, warmup=8000)(8000)) == pytest.approx(5.59e-4, rel=1e-3)
    assert float(optimizer.Rsqrt(base=0.05, warmup=8000)(5000)) == pytest.approx(3.49e-4, rel=2e-3)
    cosine = optimizer.Cosine(base=1e-3, warmup=312, cycle=62_400)
    assert float(cosine(0)) == 0
    assert float(cosine(156)) == pytest.approx(5e-4)
    assert float(cosine(312)) == pytest.approx(1e-3)
    assert float(cosine(312 + 31_200)) == pytest.approx(5e-4, rel=1e-3)
    assert float(cosine(312 + 62_399)) < 1e-8


def test_adamw_equals_the_paper_in_float64():
    """Loshchilov & Hutter 2019, algorithm 2, with the decay scaled by the learning rate as LRA has it."""
    rng = np.random.default_rng(0)
    p, m, v = rng.normal(size=5), np.zeros(5), np.zeros(5)
    rate, b1, b2, eps, decay = 0.05, 0.9, 0.98, 1e-9, 0.1
    adamw = optimizer.AdamW(learning_rate=lambda step: rate / (1 + step), b1=b1, b2=b2, eps=eps, weight_decay=decay)
    transform = adamw.transform()
    params = jnp.array(p, jnp.float32)
    state = transform.init(params)
    for step in range(1, 20):
        g = rng.normal(size=5)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        p = p - rate / step * (m / (1 - b1**step) / (np.sqrt(v / (1 - b2**step)) + eps) + decay * p)
        updates, state = transform.update(jnp.array(g, jnp.float32), state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params, p, rtol=2e-5)


def test_clipping_bounds_the_global_norm():
    transform = optimizer.AdamW(learning_rate=lambda step: 1.0, b1=0.0, b2=0.0, eps=1.0, clip=1.0).transform()
    params = {"a": jnp.zeros(2), "b": jnp.zeros(2)}
    gradients = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([0.0, 4.0])}
    updates, _ = transform.update(gradients, transform.init(params), params)
    clipped = np.array([0.6, 0.8])  # norm 5 scaled to 1, then g / (|g| + 1)
    np.testing.assert_allclose([-updates["a"][0], -updates["b"][1]], clipped / (clipped + 1), rtol=1e-6)


@pytest.mark.parametrize("variant", ["transformer", "performer"])
def test_bits_do_not_depend_on_how_a_run_is_cut(train, variant):
    plan = small_plan("performer.redraw_every = 3", variant=variant)
    functions = step_functions(plan)
    run = jax.jit(functions.run)
    results = []
    for cuts in ([12], [1, 2, 3, 1, 5], [4, 4, 4]):
        state, step = functions.init(plan.seeds), 0
        for count in cuts:
            rows = jnp.zeros((12, 3, 8), jnp.int32).at[:count].set(rows_of(plan, step, count, len(train.labels)))
            state = run(state, keys_of(plan), jnp.int32(step), jnp.int32(count), rows, train)
            step += count
        results.append(state)
    assert equal(results[0], results[1])
    assert equal(results[0], results[2])


def test_seeds_trained_together_are_those_trained_alone(train):
    """They are equal up to the rounding of batched matrix products."""
    together = small_plan()
    state = step_functions(together).init(together.seeds)
    rows = rows_of(together, 0, 6, len(train.labels))
    state = jax.jit(step_functions(together).run)(state, keys_of(together), jnp.int32(0), jnp.int32(6), rows, train)
    alone = small_plan(seeds=(1,))
    single = step_functions(alone).init(alone.seeds)
    rows = rows_of(alone, 0, 6, len(train.labels))
    single = jax.jit(step_functions(alone).run)(single, keys_of(alone), jnp.int32(0), jnp.int32(6), rows, train)
    for ours, theirs in zip(leaves(state.params), leaves(single.params)):
        np.testing.assert_allclose(ours[1], theirs[0], atol=1e-5)
        assert not np.array_equal(ours[0], ours[2]) or not ours[0].any()


def test_loss_of_not_a_number_ends_that_seed_alone(train):
    plan = small_plan()
    functions = step_functions(plan)
    run = jax.jit(functions.run)
    rows = rows_of(plan, 0, 4, len(train.labels))
    healthy = run(functions.init(plan.seeds), keys_of(plan), jnp.int32(0), jnp.int32(4), rows, train)
    start = functions.init(plan.seeds)
    poisoned = start._replace(params=jax.tree.map(lambda leaf: leaf.at[1].set(jnp.nan), start.params))
    state = run(poisoned, keys_of(plan), jnp.int32(0), jnp.int32(4), rows, train)
    assert state.diverged_at.tolist() == [-1, 0, -1]
    for seed in (0, 2):
        pick = lambda tree, seed=seed: jax.tree.map(lambda leaf: leaf[seed], tree)
        assert equal(pick(state), pick(healthy))
    assert equal(
        jax.tree.map(lambda leaf: leaf[1], state.optimizer), jax.tree.map(lambda leaf: leaf[1], start.optimizer)
    )


def test_accuracy_is_an_exact_count():
    prediction = np.array([[0, 1, 2, 3], [3, 3, 3, 3]])
    assert accuracy_of(prediction, np.array([0, 1, 1, 3])) == [0.75, 0.25]


def test_best_parameters_are_kept_seed_by_seed(train):
    plan = small_plan("train.select = 'best'")
    state = step_functions(plan).init(plan.seeds)
    from lra.train import Best

    best = Best(state.params, state.buffers, jnp.array([0.5, 0.1, -1.0]), jnp.array([4, 4, 0]))
    later = state._replace(params=jax.tree.map(lambda leaf: leaf + 1, state.params), diverged_at=jnp.array([-1, -1, 3]))
    best = keep_best(best, later, jnp.array([0.5, 0.2, 0.9]), jnp.int32(8))
    assert best.step.tolist() == [4, 8, 0]  # equal is not better; a diverged seed is never kept
    assert best.accuracy.tolist() == pytest.approx([0.5, 0.2, -1.0])
    for kept, old, new in zip(leaves(best.params), leaves(state.params), leaves(later.params)):
        assert np.array_equal(kept[0], old[0])
        assert np.array_equal(kept[1], new[1])


def test_small_task_is_learnt(home, train):
    """A label that one token decides is learnt to the last example: the gradient reaches everything it must."""
    plan = small_plan("encoder.dropout = 0.0", "encoder.attention_dropout = 0.0", "cosine.cycle = 600", seeds=(0,))
    easy = Split(train.inputs, train.lengths, (train.inputs[:, 0] - 11).astype(jnp.int32) % 4)
    functions = step_functions(plan)
    rows = rows_of(plan, 0, 400, len(easy.labels))
    state = jax.jit(functions.run)(functions.init(plan.seeds), keys_of(plan), jnp.int32(0), jnp.int32(400), rows, easy)
    _, prediction = evaluated(functions, state, easy, seeds=1)
    assert accuracy_of(np.asarray(prediction), np.asarray(easy.labels))[0] > 0.9


@pytest.mark.parametrize(
    ("binding", "says"),
    [
        ("train.steps = 0", "train.steps"),
        ("train.select = 'bset'", "best"),
        ("train.microbatch = 3", "1, 2, 4 do"),
        ("train.microbatch = 0", "train.microbatch"),
        ("train.buckets = 0", "train.buckets"),
        ("encoder.heads = 3", "does not divide"),
        ("encoder.pool = 'max'", "mean"),
        ("train.stepz = 5", "did you mean 'steps'"),
        ("trian.steps = 5", "did you mean 'train'"),
        ("train.steps =", "train.steps = 500"),
        ("listops.max_length = 'long'", "listops.max_length"),
        ("adamw.learning_rate = @cosin()", "cosin"),
    ],
)
def test_wrong_configuration_is_one_line_that_names_it(binding, says):
    with pytest.raises(UserError, match=says.replace("(", r"\(")) as caught:
        small_plan(binding)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "variant", ["performer", *(pytest.param(name, marks=pytest.mark.more) for name in ("transformer", "luna"))]
)
def test_a_batch_in_parts_is_the_batch(train, variant):
    """One update, one redraw and one dropout a step: parameters, loss and counts are those of the batch."""
    results = []
    for binding in ((), ("train.microbatch = 4",), ("train.microbatch = 1",)):
        plan = small_plan(*binding, variant=variant)
        assert plan.encoder.dropout == plan.encoder.attention_dropout == 0.1
        functions = step_functions(plan)
        rows = rows_of(plan, 0, 3, len(train.labels))
        run = jax.jit(functions.run)
        results.append(run(functions.init(plan.seeds), keys_of(plan), jnp.int32(0), jnp.int32(3), rows, train))
    whole, *parted = results
    for state in parted:
        for ours, theirs in zip(leaves(state), leaves(whole), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)
        assert np.array_equal(state.correct, whole.correct)


def test_what_draws_otherwise_draws_anew_in_each_part():
    """A variant's own nnx.Dropout has another mask in each part of a batch."""
    drop = nnx.Dropout(0.5, rngs=nnx.Rngs(dropout=0))
    masks = []
    for part in range(3):
        begin_part(drop, jax.random.key(0), jnp.int32(part))
        masks.append(np.asarray(drop(jnp.ones(64))))
    assert len(np.unique(masks, axis=0)) == 3
