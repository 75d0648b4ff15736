"""What the backends of the delta rule are given."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float


class Operands(NamedTuple):
    """The arrays of a delta rule."""

    q: Float[Array, "batch length heads key_dim"]
    k: Float[Array, "batch length heads key_dim"]
    v: Float[Array, "batch length heads value_dim"]
    beta: Float[Array, "batch length heads"]
    log_decay: Float[Array, "batch length heads #key_dim"] | None


class Static(NamedTuple):
    """What is known when a program is traced."""

    interpret: bool = False


def draw(static: Static, shapes: Any, rng: np.random.Generator) -> Operands:
    """Random operands of given shapes and types, for a proof: keys of length 1, beta up to 2, weak to strong decays."""
    normal = lambda x: rng.standard_normal(x.shape, np.float32)
    k, decay = normal(shapes.k), shapes.log_decay
    if decay is not None:
        decay = -np.exp(2 * normal(decay) - 2).astype(decay.dtype)
    return Operands(
        normal(shapes.q).astype(shapes.q.dtype),
        (k / np.linalg.norm(k, axis=-1, keepdims=True)).astype(shapes.k.dtype),
        normal(shapes.v).astype(shapes.v.dtype),
        rng.uniform(0, 2, shapes.beta.shape).astype(shapes.beta.dtype),
        decay,
    )
