"""Softmax attention: which keys a query sees is a pattern, and the log-sum-exp merges parts."""

from lra.models.kernels.softmax.dropout import NO_DROPOUT, Dropout
from lra.models.kernels.softmax.op import attend
from lra.models.kernels.softmax.parts import merge
from lra.models.kernels.softmax.pattern import CAUSAL, FULL, Blocks, First, Pattern, SameBlock, Window

__all__ = [
    "CAUSAL",
    "FULL",
    "NO_DROPOUT",
    "Blocks",
    "Dropout",
    "First",
    "Pattern",
    "SameBlock",
    "Window",
    "attend",
    "merge",
]
