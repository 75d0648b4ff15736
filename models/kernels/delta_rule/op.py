"""The delta rule: the function that variants call, for all backends."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lra.models.kernels.backends import Backend, Op, choose
from lra.models.kernels.delta_rule import xla
from lra.models.kernels.delta_rule.operands import Operands, Static, draw

BACKENDS: Mapping[str, Backend] = {"xla": xla}


def delta_rule(
    q: Float[Array, "batch length heads key_dim"],
    k: Float[Array, "batch length heads key_dim"],
    v: Float[Array, "batch length heads value_dim"],
    beta: Float[Array, "batch length heads"],
    mask: Bool[Array, "batch length"] | None = None,
    *,
    log_decay: Float[Array, "batch length heads #key_dim"] | None = None,
    backend: str | None = None,
) -> Float[Array, "batch length heads value_dim"]:
    """y_i = S_i^T q_i with S_i = (I - beta_i k_i k_i^T) diag(exp(log_decay_i)) S_{i-1} + beta_i k_i v_i^T, S_{-1} = 0.

    So the state decays, and then what it answers to k_i moves by the share beta_i towards v_i. Without decay it is
    DeltaNet (Yang et al. 2024, 2406.06484, equation 5), with one decay a token gated DeltaNet (Yang et al. 2024,
    2412.06464, equation 10), with one a channel KDA (2510.26692). Work and memory are linear in the length. States and
    sums are in float32; y is written in the type of v.

    The factors of a step do not commute. So there is no form for both directions at once, as linear attention has: turn
    the sequence for the other direction. Padding may stand anywhere.

    Args:
      k: of length 1, if beta may be above 1: then I - beta k k^T makes nothing longer for a beta of up to 2.
      beta: from 0, where the state only decays, to 2, where the state's answer to k changes its sign.
      mask: which tokens are real. Padding passes the state on as it is.
      log_decay: at most 0; one a token, or one a channel of the keys. None is no decay.
      backend: one of `backends.NAMES`; None is what `backends.deciding` says, or XLA.

    Raises:
      ValueError: there is no such backend.
      NotImplementedError: the backend does not admit these operands.
    """
    if mask is not None:
        beta = jnp.where(mask[..., None], beta, 0)
        if log_decay is not None:
            log_decay = jnp.where(mask[..., None, None], log_decay, 0)
    x = Operands(q.astype(v.dtype), k.astype(v.dtype), v, beta.astype(jnp.float32), log_decay)
    return run(*choose(OP, backend, Static(), x), x).astype(v.dtype)


def run(name: str, static: Static, x: Operands) -> Float[Array, "batch length heads value_dim"]:
    """The op by a backend."""
    return BACKENDS[name].forward(static, x)


OP = Op("delta rule", __name__, BACKENDS, run, draw)
