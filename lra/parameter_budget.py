"""LRA's parameter budget: a model may exceed the Transformer's parameter count on a task by at most 10 %.

The share is `protocol.parameter_budget` in the file of the protocol.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import jax
from flax import nnx

from lra.models.attention import VARIANTS, Shape, Variant
from lra.plan import Plan, abstract, untraced
from lra.recipe import protocol_named
from lra.spec import RunSpec

PROTOCOL, REFERENCE = "paper", "transformer"
TASKS = ("listops", "text", "retrieval", "image", "pathfinder", "pathx")


def allowed_excess() -> float:
    """The share by which a model may exceed the Transformer's parameter count, e.g. 0.1."""
    budget = protocol_named(PROTOCOL).parameter_budget
    assert budget is not None
    return budget


def parameter_counts(variant: str, overrides: Sequence[str] = ()) -> dict[str, int]:
    """The parameter count of a variant's model on each of LRA's tasks under protocol paper.

    Raises:
      UsageError: as `lra.resolve`.
      UserError: the variant raised.
    """
    return {task: parameter_count(task, variant, PROTOCOL, overrides) for task in TASKS}


def parameter_count(task: str, variant: str, protocol: str, overrides: Sequence[str] = ()) -> int:
    """The parameter count of one model. Only its mixers are built anew; raises as `parameter_counts`."""
    plan = untraced(RunSpec(task, variant, protocol, overrides=tuple(overrides)))
    # models of one size differ only in their mixers, so that the rest is counted once, with the Transformer
    base = VARIANTS[REFERENCE]
    reference = dataclasses.replace(plan, spec=RunSpec(task, REFERENCE, protocol), variant=base, options=base.options())
    return around_mixers(reference) + sum(mixers(plan))


def excess(counts: Mapping[str, int], reference: Mapping[str, int]) -> dict[str, float]:
    """The share by which each count is above (or below, if negative) that of the reference, by task."""
    return {task: counts[task] / reference[task] - 1 for task in counts}


def count(variant: Variant, build: Callable[[], nnx.Module]) -> int:
    """The parameter count of a module, without computing its parameters."""
    params = abstract(variant, lambda: nnx.state(build(), nnx.Param))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def mixers(plan: Plan) -> list[int]:
    """The parameter count of each layer's mixer."""
    sizes, variant, tokens = plan.encoder, plan.variant, plan.source.max_length + (plan.encoder.pool == "cls")

    def of_layer(layer: int) -> int:
        shape = Shape(sizes.dim, sizes.qkv_dim, sizes.heads, tokens, 0.0, layer, sizes.layers)
        return count(variant, lambda: variant.build(shape, nnx.Rngs(params=0, dropout=0), plan.options))

    return [of_layer(layer) for layer in range(sizes.layers)] if variant.by_layer else [of_layer(0)] * sizes.layers


@functools.cache
def around_mixers(reference: Plan) -> int:
    """The parameter count of a model without its mixers."""
    whole = count(reference.variant, lambda: reference.model(nnx.Rngs(params=0, dropout=0)))
    return whole - sum(mixers(reference))
