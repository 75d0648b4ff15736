"""What state space models begin with, and how they keep complex parameters."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Complex


def hippo(size: int) -> tuple[Complex[np.ndarray, " half"], Complex[np.ndarray, "size half"]]:
    """Eigenvalues and eigenvectors of HiPPO-N, the normal part of HiPPO-LegS: one of each conjugate pair.

    HiPPO-LegS is -sqrt((2n+1)(2k+1)) below the diagonal and -(n+1) on it. HiPPO-N is HiPPO-LegS without its part of
    rank one: half of the numbers below the diagonal, made antisymmetric, and -1/2 on the diagonal.
    """
    root = np.sqrt(2 * np.arange(size) + 1)
    below = np.tril(np.outer(root, root), -1)
    frequencies, vectors = np.linalg.eigh(-1j * (below.T - below) / 2)
    return -0.5 + 1j * frequencies[size // 2 :], vectors[:, size // 2 :]


def pair(x: Complex[Array, "..."]) -> nnx.Param:
    """The real and the imaginary parts of x, along a new first axis."""
    return nnx.Param(jnp.stack([x.real, x.imag]).astype(jnp.float32))


def complex_of(pair: nnx.Param) -> Complex[Array, "..."]:
    return jax.lax.complex(*pair.get_value().astype(jnp.float32))
