"""What is known of a diagonal recurrence when a program is traced."""

from typing import Any, NamedTuple

# for each way, whether it begins at the end
DIRECTIONS = {"forward": (False,), "backward": (True,), "both": (False, True)}


class Static(NamedTuple):
    reverses: tuple[bool, ...]  # a value of DIRECTIONS
    dtype: Any  # of x and of its gradient
    interpret: bool
