"""Diagonal linear recurrences h_i = a_i h_{i-1} + x_i, real or complex, and layers that are made of them."""

from lra.models.kernels.recurrence.layers import (
    bidirectional_state_space,
    close_gaps,
    constant_convolution,
    open_gaps,
)
from lra.models.kernels.recurrence.op import diagonal_recurrence
from lra.models.kernels.recurrence.operands import DIRECTIONS

__all__ = [
    "DIRECTIONS",
    "bidirectional_state_space",
    "close_gaps",
    "constant_convolution",
    "diagonal_recurrence",
    "open_gaps",
]
