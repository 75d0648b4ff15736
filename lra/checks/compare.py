"""Compares outputs. A NaN is equal to a NaN: it is the check of finite numbers that reports it, and no other."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

Outputs = Float[np.ndarray, "batch length dim"]


def far(a: Outputs, b: Outputs, at: Bool[np.ndarray, "batch length"], tolerance: float) -> str | None:
    """The largest difference of two outputs at the tokens `at`, in words; None if it is within the tolerance.

    Args:
      tolerance: a share of the largest finite output of `b`.
    """
    a, b = (np.asarray(y, float)[at] for y in (a, b))
    differ = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    finite = np.isfinite(a) & np.isfinite(b)
    if lost := int((differ & ~finite).any(-1).sum()):
        return f"NaN or infinity in {lost} of {len(a)} tokens"
    largest = max(np.abs(b[np.isfinite(b)]).max(initial=0), 1e-30)
    error = np.abs(a[differ] - b[differ]).max(initial=0) / largest
    return None if error <= tolerance else f"{error:.1g} times the largest output"


def not_finite(y: Outputs, at: Bool[np.ndarray, "batch length"]) -> str | None:
    """Where outputs at the tokens `at` are not finite, in words; None if all are finite."""
    wrong = np.argwhere(~np.isfinite(np.asarray(y, float)).all(-1) & at)
    if not len(wrong):
        return None
    row, token = wrong[0]
    return f"{len(wrong)} outputs are NaN or infinite, the first that of token {token} in a row of {at[row].sum()}"


def equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays have the same numbers, and NaN at the same places."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


def same_bits(a: object, b: object) -> bool:
    """Whether two trees of one structure have equal arrays, and equal keys of random numbers."""
    bits = lambda x: np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)
    return bool(jax.tree.all(jax.tree.map(lambda x, y: equal(bits(x), bits(y)), a, b)))
