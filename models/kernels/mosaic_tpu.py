"""What the kernels for TPU share: their interpreter, and products of matrices."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.pallas import tpu as pltpu

NN, NT, TN = ((1,), (0,)), ((1,), (1,)), ((0,), (0,))  # the axes summed over, of a b, a b^T and a^T b


def interpreted(interpret: bool) -> Any:
    """The value of `interpret=`. The interpreter looks for races, and fills memory with NaN until it is written."""
    return pltpu.InterpretParams(detect_races=True) if interpret else False


def dot(a: jax.Array, b: jax.Array, axes: Any = NN, dtype: Any = jnp.float32) -> jax.Array:
    """The product in float32 of a and b, both rounded to `dtype`."""
    exact = jnp.dtype(dtype) == jnp.float32
    precision = lax.Precision.HIGHEST if exact else lax.Precision.DEFAULT
    return lax.dot_general(
        a.astype(dtype), b.astype(dtype), (axes, ((), ())), precision=precision, preferred_element_type=jnp.float32
    )
