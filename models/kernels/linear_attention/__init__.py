"""Linear attention: XLA's, and kernels for TPU and Hopper."""

from lra.models.kernels.linear_attention.op import linear_attention

__all__ = ["linear_attention"]
