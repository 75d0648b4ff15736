"""What the backends of softmax attention are given."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lra.models.kernels.softmax.pattern import Pattern


class Operands(NamedTuple):
    """The arrays of an attention, with one batch axis."""

    q: Float[Array, "batch queries heads head_dim"]
    k: Float[Array, "batch keys heads head_dim"]
    v: Float[Array, "batch keys heads value_dim"]
    mask: Bool[Array, "batch keys #heads"] | None
    allowed: Bool[Array, "#batch #heads queries keys"] | None
    bias: Float[Array, "#batch #heads queries keys"] | None
    seeds: Int[Array, "batch heads"] | None  # of dropout


class Static(NamedTuple):
    """What is known when a program is traced."""

    pattern: Pattern
    rate: float  # of dropout
    lse: bool = True  # whether the logarithms of the denominators are used
    interpret: bool = False


class Kept(NamedTuple):
    """What the backward pass has of the forward pass."""

    x: Operands
    lse: Float[Array, "batch queries heads"]  # logarithms of the softmax denominators, 0 for a query without a key


class Gradient(NamedTuple):
    """What the backward pass has of the gradients of the output and of `lse`: d logits = p (d p - delta)."""

    delta: Float[Array, "batch queries heads"]
    d_out: Float[Array, "batch queries heads value_dim"]


FEW = 16  # keys; with a single one, the gradients of queries and keys would be rounding alone
MASKED = 100.0  # how large masked keys and values are: who counts them by a little finds it


def draw(static: Static, shapes: Any, rng: np.random.Generator) -> Operands:
    """Random operands of given shapes and types, for a proof. The mask leaves the first keys of each example: a random
    number, all of them, or FEW.
    """

    def normal(x: Any) -> Any:
        return None if x is None else rng.standard_normal(x.shape, np.float32).astype(x.dtype)

    q, k, v, bias = (normal(x) for x in (shapes.q, shapes.k, shapes.v, shapes.bias))
    mask, allowed, seeds = None, None, None
    if shapes.mask is not None:
        batch, keys, heads = shapes.mask.shape
        count = rng.integers(1, keys + 1, (batch, 1, heads))
        count[0], count[-1] = min(FEW, keys), keys
        mask = np.arange(keys)[:, None] < count
        hidden = ~mask.repeat(k.shape[2] // heads, 2)[..., None]
        k, v = (np.where(hidden, MASKED, 1).astype(x.dtype) * x for x in (k, v))
    if shapes.allowed is not None:
        allowed = rng.random(shapes.allowed.shape, np.float32) < 0.5
    if shapes.seeds is not None:
        seeds = rng.integers(-(2**31), 2**31, shapes.seeds.shape).astype(np.int32)
    arrays: Any = (q, k, v, mask, allowed, bias, seeds)
    return Operands(*arrays)
