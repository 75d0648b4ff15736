"""Flax's convolutions on CPUs, as products of shifted inputs.

XLA's CPU compiler has fast code for the gradients of a convolution, but not inside a loop, and the train steps of a
run are a loop. `lax.conv_general_dilated` takes 10 to 100 times longer there than what is here.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jax.stages import Lowered
from jaxtyping import Array

from lra import settings

MOST_TAPS = 256  # each tap is an operation of the program; more would compile for minutes
SLOW = (
    f"XLA computes a convolution of this variant slowly on a CPU; nnx.Conv with at most {MOST_TAPS} taps, or a sum of "
    "products of shifted inputs, is many times faster"
)


def mend(model: nnx.Module) -> nnx.Module:
    """Puts `shifted` into each `nnx.Conv` of a model if the device is a CPU; returns the model."""
    for _, module in nnx.iter_modules(model):
        if isinstance(module, nnx.Conv) and settings.device().platform == "cpu" and can_be_shifted(module):
            module.conv_general_dilated = shifted
    return model


def can_be_shifted(layer: nnx.Conv) -> bool:
    """Whether `shifted` computes what the layer does."""
    return (
        layer.conv_general_dilated is lax.conv_general_dilated
        and set(np.ravel(layer.input_dilation or 1)) == {1}
        and math.prod(layer.kernel_size) <= MOST_TAPS
    )


def shifted(
    x: Array, kernel: Array, strides: Sequence[int], padding: str | Sequence[tuple[int, int]], *,
    rhs_dilation: Sequence[int], feature_group_count: int, precision: Any, preferred_element_type: Any = None,
    **others: Any,
) -> Array:  # fmt: skip
    """What `lax.conv_general_dilated` computes for `nnx.Conv`.

    Args:
      x: the inputs [batch, positions.., features].
      kernel: [taps.., features / groups, outputs].
      others: what `nnx.Conv` always passes alike.

    Returns:
      the outputs [batch, positions.., outputs].
    """
    taps, sizes = kernel.shape[:-2], x.shape[1:-1]
    reach = [(count - 1) * dilation + 1 for count, dilation in zip(taps, rhs_dilation)]
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(sizes, reach, strides, padding)
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((low, high, 0) for low, high in padding), (0, 0, 0)])
    last = [size - far for size, far in zip(x.shape[1:-1], reach)]
    parts = []  # what each tap reads
    for tap in np.ndindex(*taps):
        start = [place * dilation for place, dilation in zip(tap, rhs_dilation)]
        stop = [first + end + 1 for first, end in zip(start, last)]
        parts.append(lax.slice(x, [0, *start, 0], [x.shape[0], *stop, x.shape[-1]], [1, *strides, 1]))
    weights = kernel.reshape(-1, *kernel.shape[-2:])
    if kernel.shape[-2] == 1:  # each output reads one feature
        repeats = kernel.shape[-1] // x.shape[-1]
        outputs = sum(jnp.repeat(part, repeats, -1) * weight[0] for part, weight in zip(parts, weights))
    else:  # the outputs of a group are neighbours
        grouped = [part.reshape(*part.shape[:-1], feature_group_count, -1) for part in parts]
        rows = weights.reshape(-1, feature_group_count, kernel.shape[-1] // feature_group_count)
        outputs = jnp.einsum("...gi,igo->...go", jnp.concatenate(grouped, -1), rows, precision=precision)
        outputs = outputs.reshape(*outputs.shape[:-2], -1)
    return outputs.astype(preferred_element_type or x.dtype)


def is_slow(program: Lowered) -> bool:
    """Whether a program is for a CPU and has a convolution of XLA."""
    return settings.device().platform == "cpu" and "stablehlo.convolution" in program.as_text()
