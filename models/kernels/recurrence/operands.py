"""What the backends of the diagonal recurrence are given."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Inexact

# for each way, whether it begins at the end
DIRECTIONS = {"forward": (False,), "backward": (True,), "both": (False, True)}


class Operands(NamedTuple):
    """`log_a` is the same for all tokens, or like `x`. Both are real or both are complex."""

    log_a: Inexact[Array, " channels"] | Inexact[Array, "batch length channels"]
    x: Inexact[Array, "batch length channels"]


class Static(NamedTuple):
    """What is known when a program is traced."""

    reverses: tuple[bool, ...]  # a value of DIRECTIONS
    dtype: Any  # of x and of its gradient
    interpret: bool = False


class Kept(NamedTuple):
    """What the backward pass has of the forward pass: an operand, and the output."""

    log_a: Inexact[Array, " channels"] | Inexact[Array, "batch length channels"]
    h: Inexact[Array, "batch ways length channels"]


def draw(static: Static, shapes: Any, rng: np.random.Generator) -> Operands:
    """Random operands of given shapes and types, for a proof: decays from weak to strong, and any phase."""
    normal = lambda x: rng.standard_normal(x.shape, np.float32)
    decay, phase = -np.exp(2 * normal(shapes.log_a) - 3), 3 * normal(shapes.log_a)
    is_complex = np.issubdtype(shapes.log_a.dtype, np.complexfloating)
    log_a = decay + 1j * phase if is_complex else decay
    x = normal(shapes.x) + 1j * normal(shapes.x) if is_complex else normal(shapes.x)
    return Operands(log_a.astype(shapes.log_a.dtype), x.astype(shapes.x.dtype))
