"""What the backends of the diagonal recurrence are given."""

from typing import Any, NamedTuple

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
