"""Softmax attention by cuDNN, through JAX: attention to all keys, or causal, on NVIDIA's GPUs since Ampere."""

from functools import partial
from typing import Literal

import jax
from jaxtyping import Array

from lra.models.kernels.softmax import library
from lra.models.kernels.softmax.operands import Operands, Static

IMPLEMENTATION: Literal["cudnn", "xla"] = "cudnn"  # jax.nn has "xla" too, which computes the same on any device
WIDEST = 128  # heads, on every such GPU


def admits(static: Static, x: Operands) -> None:
    """Raises NotImplementedError for what libraries lack, and for widths of heads that are not cuDNN's."""
    library.admits(static, x)
    head_dim, value_dim = x.q.shape[-1], x.v.shape[-1]
    if head_dim != value_dim or head_dim % 8 or head_dim > WIDEST:
        raise NotImplementedError(
            f"heads {head_dim} wide, values {value_dim}: cuDNN has one width for both, a multiple of 8 up to {WIDEST}"
        )


def attention(x: library.Dense) -> Array:
    return jax.nn.dot_product_attention(
        x.q, x.k, x.v, is_causal=x.causal, key_value_seq_lengths=x.lengths, implementation=IMPLEMENTATION
    )  # fmt: skip


forward = partial(library.forward, attention)
backward = partial(library.backward, attention)
