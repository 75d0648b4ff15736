"""LRA's rule for its table: no model has more than 10 % more parameters than the Transformer of the same task."""

import dataclasses
import functools
from collections.abc import Sequence

from flax import nnx

from lra.models.attention import VARIANTS, Shape, Variant
from lra.models.encoder import EncoderConfig
from lra.plan import Plan, abstract, draft_plan, size

TASKS = ("listops", "text", "retrieval", "image", "pathfinder", "pathx")
BUDGET = 0.1


def parameters_of(variant: str, overrides: Sequence[str] = ()) -> dict[str, int]:
    """The trainable parameters of a variant's model on each of LRA's tasks under protocol paper."""
    found = {}
    for task in TASKS:
        plan = draft_plan(task, variant, "paper", [0], overrides)
        found[task] = around_mixers(plan) + sum(mixers(plan, plan.variant))
    return found


def excess(counts: dict[str, int], transformer: dict[str, int]) -> dict[str, float]:
    """By which share each count is above, or below, that of the Transformer."""
    return {task: counts[task] / transformer[task] - 1 for task in counts}


def mixers(plan: Plan, variant: Variant) -> list[int]:
    """The parameters of each layer's mixer."""
    sizes, tokens = plan.encoder, plan.source.max_length + (plan.encoder.pool == "cls")
    layers = range(sizes.layers if variant.by_layer else 1)

    def built(layer: int) -> nnx.State:
        shape = Shape(sizes.dim, sizes.qkv_dim, sizes.heads, tokens, 0.0, layer, sizes.layers)
        return nnx.state(variant.build(shape, nnx.Rngs(params=0, dropout=0)), nnx.Param)

    counts = [size(abstract(variant, functools.partial(built, layer))) for layer in layers]
    return counts if variant.by_layer else counts * sizes.layers


_around: dict[tuple[str, int, EncoderConfig], int] = {}


def around_mixers(plan: Plan) -> int:
    """The parameters of a plan's model without its mixers; models of one size share them, so they are built once."""
    key = plan.task.name, plan.source.max_length, plan.encoder
    if key not in _around:
        reference = dataclasses.replace(plan, variant=VARIANTS["transformer"])
        build = lambda: nnx.state(reference.model(nnx.Rngs(params=0, dropout=0)), nnx.Param)
        _around[key] = size(abstract(reference.variant, build)) - sum(mixers(plan, reference.variant))
    return _around[key]
