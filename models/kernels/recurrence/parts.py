"""Numbers as tuples, for kernels, which have no complex type: (x,) if real, (real, imaginary) if complex."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

Parts = tuple[Array, ...]


def parts(x: Array) -> Parts:
    return (x.real, x.imag) if jnp.iscomplexobj(x) else (x,)


def joined(x: Parts) -> Array:
    return jax.lax.complex(*x) if len(x) == 2 else x[0]


def plus(x: Parts, y: Parts) -> Parts:
    return tuple(a + b for a, b in zip(x, y))


def times(x: Parts, y: Parts) -> Parts:
    if len(x) == 1:
        return (x[0] * y[0],)
    return x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]
