"""The delta rule by XLA, on any device: the reference of kernels."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lra.models.kernels.blocks import pad_to_multiple
from lra.models.kernels.delta_rule.operands import Operands, Static
from lra.models.kernels.linear_attention.xla import between, sums

CHUNK = 16  # tokens; where each channel has a decay, the cost of a token is of this order


def admits(static: Static, x: Operands) -> None:
    """XLA admits all operands."""


def forward(static: Static, x: Operands, chunk: int = CHUNK) -> Float[Array, "batch length heads value_dim"]:
    """S_i = D_i S_{i-1} + k_i n_i^T with D_i = diag(exp(log_decay_i)), where n_i = beta_i (v_i - S_{i-1}^T D_i k_i) is
    what the state lacks; y_i = S_i^T q_i. In float32.

    The n of a chunk follow from the state before it by a triangular system (Yang et al. 2024, 2406.06484, section
    3.2): n_i + beta_i sum_{j < i} (k_i . D_i .. D_{j+1} k_j) n_j = beta_i (v_i - S^T D_i .. D_1 k_i). The state is kept
    for each chunk, not for each token, and the rest is computed again in the backward pass.
    """
    length, heads = x.q.shape[1:3]
    chunk = min(chunk, length)
    log_decay = jnp.zeros((*x.q.shape[:3], 1)) if x.log_decay is None else x.log_decay
    before = jnp.tril(jnp.ones((chunk, chunk), bool), -1)

    def chunks(x: Array) -> Array:  # [chunks, batch, heads, chunk, ...]
        x = pad_to_multiple(x, chunk).astype(jnp.float32)
        return x.reshape(x.shape[0], -1, chunk, *x.shape[2:]).transpose(1, 0, 3, 2, 4)

    @jax.checkpoint
    def step(state: Array, xs: tuple[Array, ...]) -> tuple[Array, Array]:
        q, k, v, beta, decay = xs
        since = jnp.exp(sums(decay, False))  # the start of the chunk
        passed = jnp.exp(between(decay, False))
        lacks = beta * jnp.where(before, products(k, k, passed), 0)
        n = inverse(lacks) @ (beta * (v - (k * since) @ state))
        y = (q * since) @ state + products(q, k, passed) @ n
        new = jnp.swapaxes(k * jnp.exp(sums(decay, False, after=True)), 2, 3) @ n
        return jnp.exp(decay.sum(2))[..., None] * state + new, y

    start = jnp.zeros((len(x.q), heads, x.q.shape[-1], x.v.shape[-1]), jnp.float32)
    operands = (x.q, x.k, x.v, x.beta[..., None], log_decay)
    y = jax.lax.scan(step, start, tuple(map(chunks, operands)))[1]
    return y.transpose(1, 0, 3, 2, 4).reshape(len(x.q), -1, heads, x.v.shape[-1])[:, :length]


def products(
    a: Float[Array, "batch heads chunk key_dim"],
    b: Float[Array, "batch heads chunk key_dim"],
    passed: Float[Array, "batch heads chunk chunk #key_dim"],
) -> Float[Array, "batch heads chunk chunk"]:
    """a_i . diag(passed_ij) b_j for each pair of a chunk."""
    if passed.shape[-1] == 1:
        return (a @ jnp.swapaxes(b, 2, 3)) * passed[..., 0]
    return jnp.einsum("bhid,bhjd,bhijd->bhij", a, b, passed)


def inverse(lower: Float[Array, "*batch size size"]) -> Float[Array, "*batch size size"]:
    """(I + lower)^-1, `lower` strictly below the diagonal.

    It is that of the blocks on the diagonal, whose size doubles: [[A, 0], [C, B]]^-1 = [[A^-1, 0], [-B^-1 C A^-1,
    B^-1]]. All are products of matrices. `lax.linalg.triangular_solve` would wait for itself now and then on a CPU (JAX
    0.10.2, under jit and vmap).
    """
    size = lower.shape[-1]
    i, j = np.ogrid[:size, :size]
    found, half = jnp.broadcast_to(jnp.eye(size, dtype=lower.dtype), lower.shape), 1
    while half < size:
        c = jnp.where((i // half == j // half + 1) & (j // half % 2 == 0), lower, 0)
        found, half = found - found @ c @ found, 2 * half
    return found
