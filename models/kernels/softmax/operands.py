"""What the backends of softmax attention are given."""

from typing import NamedTuple

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
