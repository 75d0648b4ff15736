"""What the backends of linear attention with decay, or causal, are given."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float


class Operands(NamedTuple):
    """The arrays of an attention. Kernels get `log_decay` with the batch of the others, XLA also with a batch of 1."""

    q: Float[Array, "batch length heads key_dim"]
    k: Float[Array, "batch length heads key_dim"]
    v: Float[Array, "batch length heads value_dim"]
    log_decay: Float[Array, "#batch #length heads #key_dim"] | None


class Static(NamedTuple):
    """What is known when a program is traced."""

    reverse: bool = False  # whether the state goes from the end to the start
    interpret: bool = False


def draw(static: Static, shapes: Any, rng: np.random.Generator) -> Operands:
    """Random operands of given shapes and types, for a proof: decays from weak to strong."""
    normal = lambda x: rng.standard_normal(x.shape, np.float32).astype(x.dtype)
    decay = shapes.log_decay
    if decay is not None:
        decay = -np.exp(2 * rng.standard_normal(decay.shape, np.float32) - 2).astype(decay.dtype)
    return Operands(normal(shapes.q), normal(shapes.k), normal(shapes.v), decay)
