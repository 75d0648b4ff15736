"""Train steps of a plan in a compiled loop, for comparisons within one process."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from lra import settings
from lra.plan import Plan
from lra.tasks import Split
from lra.train import step_functions


class Steps:
    """A compiled loop of train steps of one seed. Tokens are random, and every sequence has the maximal length.

    Attributes:
      bytes: the device memory of a step; NaN if the compiler does not report it.
    """

    @settings.fixed()
    def __init__(self, plan: Plan):
        batch, length, functions = plan.train.batch_size, plan.source.max_length, step_functions(plan)
        rng = np.random.default_rng(0)
        rows = rng.integers(1, plan.task.vocab_size, (batch, length)).astype(np.uint8)
        labels = rng.integers(0, plan.task.num_classes, batch)
        split = jax.tree.map(jnp.asarray, Split(rows, np.full(batch, length), labels))
        self.arguments = (jax.random.key(0)[None], jnp.int32(0), jnp.arange(batch)[None, None], split)
        self.state = functions.init([0])
        keys, first, index, split = self.arguments
        self.run = jax.jit(
            lambda state, count: functions.run(state, keys, first, count, jnp.broadcast_to(index, (1, 1, batch)), split)
        )
        self.compiled = self.run.lower(self.state, jnp.int32(1)).compile()
        memory = self.compiled.memory_analysis()
        self.bytes = memory.temp_size_in_bytes + memory.argument_size_in_bytes if memory else math.nan

    @settings.fixed()
    def __call__(self, count: int) -> jax.Array:
        return self.compiled(self.state, jnp.int32(count)).loss
