"""Linear attention: an inner product in place of softmax's exponential, so that keys are summed once; also
with decay.
"""

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lra.models.kernels.backends import Backend, Differentiable, Op, choose, folds_vmap
from lra.models.kernels.linear_attention import gpu, tpu, xla
from lra.models.kernels.linear_attention.operands import Operands, Static, draw

BACKENDS: Mapping[str, Backend] = {"xla": xla, "mosaic_tpu": tpu, "mosaic_gpu": gpu}


def linear_attention(
    q: Float[Array, "batch queries heads key_dim"],
    k: Float[Array, "batch keys heads key_dim"],
    v: Float[Array, "batch keys heads value_dim"],
    mask: Bool[Array, "batch keys"] | None = None,
    *,
    causal: bool,
    log_decay: Float[Array, "#batch #keys heads #key_dim"] | None = None,
    own_twice: bool = False,
    normaliser: Callable[[Float[Array, "..."]], Float[Array, "..."]] | None = None,
    backend: str | None = None,
) -> Float[Array, "batch queries heads value_dim"]:
    """y_i = sum_j w_ij (q_i . k_j) v_j over the tokens j that i sees, with w_ij the decay between them.

    Queries and keys come with their feature maps applied (Katharopoulos et al. 2020, 2006.16236, equations 4 to 6).
    They are read, and y is written, in the type of v.

    Causal, it is y_i = S_i^T q_i with S_i = diag(exp(log_decay_i)) S_{i-1} + k_i v_i^T and S_{-1} = 0 (Yang et al.
    2024, 2312.06635, equation 3). Not causal, it is the sum of that and of the same from the end to the start. So a
    decay that is one for all positions takes token j to i as exp(log_decay |i - j|), and one of its own for each
    token is applied as the state comes in to the token, from either side. Sums and states are in float32. Work and
    memory are linear in the length.

    Args:
      mask: which keys are real tokens. If each token has a decay, padding passes the state on as it is.
      log_decay: at most 0; one for all positions, one a token, or one a channel of each token. None is no decay.
      own_twice: counts a token's own k and v twice, not once. With decay they reach it from both directions.
      normaliser: takes the sums of weights, sum_j w_ij q_i . k_j, to the numbers by which the outputs are divided. It
        must not give 0, not even for a query without a key, whose sum and output are 0. None does not divide.
      backend: one of `backends.NAMES`; None is what `backends.deciding` says, or XLA.

    Raises:
      ValueError: `own_twice` is set where a token reaches itself only once, or queries and keys differ in length where
        positions count, or there is no such backend.
      NotImplementedError: the backend does not admit these operands.
    """
    by_position = causal or log_decay is not None
    if own_twice and (causal or log_decay is None):
        raise ValueError("own_twice is for attention with decay that is not causal")
    if by_position and q.shape[1] != k.shape[1]:
        raise ValueError(f"{q.shape[1]} queries and {k.shape[1]} keys, where a query sees keys by position")
    dtype = v.dtype
    q, k = q.astype(dtype), k.astype(dtype)
    if mask is not None:
        real = mask[..., None, None]
        k = jnp.where(real, k, 0)
        if log_decay is not None and log_decay.shape[1] > 1:
            log_decay = jnp.where(real, log_decay, 0)
    if not by_position:
        choose(OF_ALL_KEYS, backend, Static(), Operands(q, k, v, None))
        return of_all_keys(q, k, v, normaliser).astype(dtype)

    if normaliser is not None:  # values of 1 add up to the sum of weights
        v = jnp.concatenate([v, jnp.ones_like(v[..., :1])], -1)
    if log_decay is not None:
        log_decay = log_decay.astype(jnp.float32)
    x = Operands(q, k, v, log_decay)

    def one_way(reverse: bool) -> Array:
        return run(*choose(OP, backend, Static(reverse), x), x).astype(jnp.float32)

    y = one_way(False)
    if not causal:
        y = y + one_way(True)
    if not causal and not own_twice:
        own = jnp.einsum("blhd,blhd->blh", q, k, preferred_element_type=jnp.float32)
        y = y - own[..., None] * v
    if normaliser is not None:
        y = y[..., :-1] / normaliser(y[..., -1:])
    return y.astype(dtype)


def of_all_keys(
    q: Float[Array, "batch queries heads key_dim"],
    k: Float[Array, "batch keys heads key_dim"],
    v: Float[Array, "batch keys heads value_dim"],
    normaliser: Callable | None,
) -> Float[Array, "batch queries heads value_dim"]:
    """Two matrix products, in which XLA reads and writes little more than it must. Sums are in float32 and rounded
    afterwards.
    """
    state = jnp.einsum("bkhd,bkhe->bhde", k, v)
    # in the order of a product: for another, XLA transposes the larger operand on a CPU
    above = jnp.swapaxes(jnp.einsum("bqhd,bhde->bhqe", q, state), 1, 2).astype(jnp.float32)
    if normaliser is None:
        return above
    below = jnp.einsum("bqhd,bhd->bqh", q, k.sum(1)).astype(jnp.float32)
    return above / normaliser(below)[..., None]


def run(name: str, static: Static, x: Operands) -> Float[Array, "batch length heads value_dim"]:
    """The op in one direction, by a backend."""
    backend = BACKENDS[name]
    if not isinstance(backend, Differentiable):
        return backend.forward(static, x)
    if x.log_decay is not None:
        x = x._replace(log_decay=jnp.broadcast_to(x.log_decay, (len(x.v), *x.log_decay.shape[1:])))
    return fused(backend, static, x)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def fused(backend: Differentiable, static: Static, x: Operands) -> Float[Array, "batch length heads value_dim"]:
    """`xla.forward` by a kernel, in the type of v. The gradient computes the states again."""
    return folds_vmap(partial(backend.forward, static))(x)


def _forward(backend: Differentiable, static: Static, x: Operands) -> tuple[Array, Operands]:
    return fused(backend, static, x), x


def _backward(backend: Differentiable, static: Static, kept: Operands, dy: Array) -> tuple[Operands]:
    return (Operands(*folds_vmap(partial(backend.backward, static))(kept, dy)),)


fused.defvjp(_forward, _backward)

OP = Op("linear attention", __name__, BACKENDS, run, draw)
OF_ALL_KEYS = Op("linear attention of all keys to all queries", __name__, {"xla": xla}, run, draw)
