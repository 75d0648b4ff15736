"""The training step that benchmarks measure: of protocol `paper` on Text, at any length."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lra import settings
from lra.plan import Plan, resolve
from lra.recipe import merged
from lra.spec import RunSpec
from lra.tasks import Split
from lra.train import step_functions

TASK, PROTOCOL = "text", "paper"


def plan_at(length: int, name: str, overrides: Sequence[str]) -> Plan:
    """The plan of a variant at a length.

    Args:
      overrides: gin bindings.
    """
    bindings = merged(overrides, [f"{TASK}.max_length = {length}"])
    return resolve(RunSpec(TASK, name, PROTOCOL, overrides=bindings))


class Step(NamedTuple):
    """A training step of one seed as a program that can be compiled for any device.

    Attributes:
      function: a function of arrays.
      arguments: the shapes and types of the arrays.
    """

    function: Callable[..., Any]
    arguments: list[jax.ShapeDtypeStruct]


@settings.fixed()
def step_of(plan: Plan) -> Step:
    """The training step of a plan: the loop over steps that `lra run` compiles, with a batch as its data."""
    batch, length, functions = plan.train.batch_size, plan.source.max_length, step_functions(plan)
    shape = jax.ShapeDtypeStruct
    split = Split(shape((batch, length), jnp.uint8), shape((batch,), jnp.int32), shape((batch,), jnp.int32))
    keys, number = jax.eval_shape(lambda: jax.random.key(0)[None]), shape((), jnp.int32)
    arguments = (functions.init([0]), keys, number, number, shape((1, 1, batch), jnp.int32), split)
    leaves, tree = jax.tree.flatten(arguments)
    function = lambda *leaves: functions.run(*jax.tree.unflatten(tree, leaves))
    return Step(function, [shape(leaf.shape, leaf.dtype) for leaf in leaves])
