"""Training in bfloat16: a model trains and scores as in float32, and what is kept between steps is float32.

The check `bfloat16` shows it of a layer of every variant.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import resolved

from lra.models.attention import VARIANTS
from lra.plan import Plan
from lra.tasks import Split
from lra.train import Answers, TrainState, step_functions

# an op, a recurrence with parameters that stay wide; one with random features, and the others that have wide parameters
FEW = ("transformer", "s5")
MORE = sorted({"performer", *(name for name in VARIANTS if VARIANTS[name].wide)} - {*FEW})
STEPS, BATCH = 6, 8
SIZES = [f"train.batch_size = {BATCH}", "listops.max_length = 16", "cosine.warmup = 2"]


def plan_of(name: str, compute_type: str) -> Plan:
    """The recipe of the demo, with no more layers than the variant's own differ in."""
    layers = 2 if VARIANTS[name].by_layer else 1
    more = [f"encoder.layers = {layers}", f"train.compute_type = '{compute_type}'"]
    return resolved("listops", name, "demo", (0,), [*SIZES, *more])


def examples_of(plan: Plan, count: int = 16) -> Split:
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, plan.task.vocab_size, (count, plan.source.max_length)).astype(np.uint8)
    lengths = rng.integers(4, plan.source.max_length + 1, count)
    return jax.tree.map(jnp.asarray, Split(tokens, lengths, tokens[:, 0] % plan.task.num_classes))


def trained(plan: Plan, state: TrainState) -> TrainState:
    split = examples_of(plan)
    rows = jnp.arange(STEPS * BATCH).reshape(STEPS, 1, BATCH) % len(split.labels)
    keys = jax.random.key(0)[None]
    return jax.jit(step_functions(plan).run)(state, keys, jnp.int32(0), jnp.int32(STEPS), rows, split)


@pytest.mark.parametrize("name", [*FEW, *(pytest.param(name, marks=pytest.mark.release) for name in MORE)])
def test_the_demo_trains_in_bfloat16(name):
    plans = [plan_of(name, compute_type) for compute_type in ("float32", "bfloat16")]
    begin = step_functions(plans[1]).init([0])  # of either: what is kept has one type
    wide, narrow = (trained(plan, begin) for plan in plans)
    assert narrow.diverged_at[0] == -1
    kept = [
        x.dtype for x in jax.tree.leaves((narrow.params, narrow.optimizer)) if jnp.issubdtype(x.dtype, jnp.floating)
    ]
    assert set(kept) == {jnp.dtype(jnp.float32)}
    loss, expected = narrow.loss[0] / STEPS, wide.loss[0] / STEPS
    assert loss != expected  # or nothing was computed in bfloat16
    np.testing.assert_allclose(loss, expected, rtol=0.01)


def test_scoring_computes_in_the_type_of_training():
    losses = []
    for compute_type in ("float32", "bfloat16"):
        plan = plan_of("transformer", compute_type)
        functions, split = step_functions(plan), examples_of(plan)
        state, batches = functions.init([0]), jax.tree.map(lambda column: column[None], split)
        empty = Answers(jnp.zeros((1, 1, len(split.labels))), jnp.zeros((1, 1, len(split.labels)), jnp.int32))
        score = jax.jit(functions.evaluate)
        losses.append(score(state.params, state.buffers, batches, jnp.int32(0), jnp.int32(1), empty).loss)
    wide, narrow = losses
    assert narrow.dtype == jnp.float32
    assert (narrow != wide).any()
    np.testing.assert_allclose(narrow, wide, rtol=0.02)
