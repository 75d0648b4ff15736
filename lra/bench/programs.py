"""Compiled loops over training steps, and over evaluated batches, of one seed on texts of the maximal length."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lra import memory, settings
from lra.bench.timing import Run
from lra.plan import Plan
from lra.tasks import Split
from lra.train import Answers, StepFunctions, TrainState, step_functions

STATE = 16  # bytes of a parameter in training: itself, its gradient, and two moments
Compile = Callable[[StepFunctions, TrainState, Split], Any]


class TooLarge(Exception):
    """A program needs more memory than there is. The message says both."""

    def __init__(self, bytes_: int, there: int):
        super().__init__(f"out of memory: {memory.words(bytes_)} of {memory.words(there)}")
        self.bytes = bytes_


class Program:
    """A compiled loop that has not begun, so that nothing is in memory but the loop.

    Attributes:
      batch: the examples of a step.
      bytes: the memory that it takes while it runs.
      compile_seconds: what tracing and compiling took.
    """

    @settings.fixed()
    def __init__(self, plan: Plan, direction: str):
        self.plan, self.direction, self.batch = plan, direction, plan.train.batch_size
        held = STATE * plan.parameters
        self.fits(held)
        began = time.perf_counter()
        self.functions = step_functions(plan)
        self.compiled = COMPILE[direction](
            self.functions, jax.eval_shape(lambda: self.functions.init([0])), self.data()
        )
        self.compile_seconds = time.perf_counter() - began
        self.bytes = max(memory.need(self.compiled).total, held)
        self.fits(self.bytes)

    def fits(self, bytes_: int) -> None:
        """Raises TooLarge if so many bytes are more than the device has."""
        if bytes_ > (there := memory.there(settings.device())):
            raise TooLarge(bytes_, there)

    def data(self) -> Split:
        """Two batches of random tokens."""
        rng, task, length = np.random.default_rng(0), self.plan.task, self.plan.source.max_length
        shape = 2, self.batch
        tokens = rng.integers(1, task.vocab_size, (*shape, length)).astype(np.uint8)
        return Split(tokens, np.full(shape, length), rng.integers(0, task.num_classes, shape))

    @settings.fixed()
    def start(self) -> Run:
        """The loop with its arrays, as a function of the number of steps."""
        state, data = self.functions.init([0]), jax.tree.map(jnp.asarray, self.data())
        if self.direction == "inference":
            model = state.params, state.buffers
            return lambda count: self.compiled(model, jnp.int32(count), data)

        def train(count: int) -> jax.Array:
            nonlocal state
            state = self.compiled(state, jnp.int32(count), data)
            return state.loss

        return train


def compiled_training(functions: StepFunctions, state: TrainState, data: Split) -> Any:
    def steps(state: TrainState, count: jax.Array, data: Split) -> TrainState:
        flat = jax.tree.map(lambda column: column.reshape(-1, *column.shape[2:]), data)
        rows = jnp.arange(data.labels.shape[1])[None, None]
        return functions.run(state, jax.random.key(0)[None], jnp.int32(0), count, rows, flat)

    return jax.jit(steps, donate_argnums=0).lower(state, jnp.int32(1), data).compile()


def compiled_inference(functions: StepFunctions, state: TrainState, data: Split) -> Any:
    def passes(model: tuple[Any, Any], count: jax.Array, data: Split) -> Answers:
        shape = 1, *data.labels.shape
        # the two batches take turns, since a compiler may take out of a loop what is the same in each step
        body = lambda index, answers: functions.evaluate(*model, data, index % 2, 1, answers)
        return jax.lax.fori_loop(0, count, body, Answers(jnp.zeros(shape), jnp.zeros(shape, jnp.int32)))

    return jax.jit(passes).lower((state.params, state.buffers), jnp.int32(1), data).compile()


COMPILE: dict[str, Compile] = {"training": compiled_training, "inference": compiled_inference}
