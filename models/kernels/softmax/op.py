"""Softmax attention with a pattern: the function that variants call, for all backends."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lra.models.kernels.backends import Backend, Differentiable, Op, choose, folds_vmap
from lra.models.kernels.softmax import cudnn, gpu, plain, tokamax, tpu, xla
from lra.models.kernels.softmax.dropout import NO_DROPOUT, Dropout
from lra.models.kernels.softmax.operands import Gradient, Kept, Operands, Static, draw
from lra.models.kernels.softmax.pattern import FULL, Pattern

BACKENDS: Mapping[str, Backend] = {
    "xla": xla, "plain": plain, "mosaic_tpu": tpu, "mosaic_gpu": gpu, "cudnn": cudnn, "tokamax": tokamax,
}  # fmt: skip


def attend(
    q: Float[Array, "*batch queries heads head_dim"],
    k: Float[Array, "*batch keys heads head_dim"],
    v: Float[Array, "*batch keys heads value_dim"],
    *,
    mask: Bool[Array, "*#batch keys #heads"] | None = None,
    pattern: Pattern = FULL,
    allowed: Bool[Array, "*#batch #heads #queries #keys"] | None = None,
    bias: Float[Array, "*#batch #heads #queries #keys"] | None = None,
    dropout: Dropout = NO_DROPOUT,
    lse: bool = True,
    backend: str | None = None,
) -> tuple[Float[Array, "*batch queries heads value_dim"], Float[Array, "*batch queries heads"]]:
    """softmax(q k^T / sqrt(head_dim) + bias) v over the keys seen (Vaswani et al. 2017, 1706.03762, equation 1).

    Logits, softmax and sums are in float32. The work is that of the tiles which the pattern leaves, the memory linear
    in the length (and that of `allowed` and `bias`, if there are any).

    Args:
      mask: which keys queries may see, for all heads or for each.
      pattern: which keys a query may see by its position.
      allowed: which pairs of query and key remain, where that depends on data.
      bias: added to the logits; it has a gradient.
      dropout: drops from the probabilities.
      lse: whether the caller uses the second result. Without it, which is NaN then, more backends can compute the op.
      backend: one of `backends.NAMES`; None is what `backends.deciding` says, or XLA.

    Returns:
      The output in the type of v, 0 for a query without a key. And the logarithms of the softmax denominators in
      float32, -inf for such a query, by which `merge` adds up parts.

    Raises:
      ValueError: there is no backend of that name.
      NotImplementedError: the backend does not admit these operands.
    """
    batch, (queries, heads, _), keys = q.shape[:-3], q.shape[-3:], k.shape[-3]
    if not queries or not keys:
        return jnp.zeros((*q.shape[:-1], v.shape[-1]), v.dtype), jnp.full(q.shape[:-1], -jnp.inf)
    size = math.prod(batch)
    fold = lambda x: x.reshape(size, *x.shape[len(batch) :])

    def fold_pairs(x: Array | None) -> Array | None:  # a batch of 1 stays one
        if x is None:
            return None
        x = jnp.broadcast_to(x, (*x.shape[:-2], queries, keys))
        x = x.reshape(*[1] * (len(batch) + 3 - x.ndim), *x.shape)
        same = all(n == 1 for n in x.shape[: len(batch)])
        return x.reshape(1, *x.shape[-3:]) if same else fold(jnp.broadcast_to(x, (*batch, *x.shape[-3:])))

    if mask is not None:
        mask = fold(jnp.broadcast_to(mask, (*batch, *mask.shape[-2:])))
    operands = Operands(
        fold(q), fold(k), fold(v), mask, fold_pairs(allowed), fold_pairs(bias), dropout.seeds(size, heads)
    )
    rate = 0.0 if operands.seeds is None else dropout.rate
    name, static = choose(OP, backend, Static(pattern, rate, lse), operands)
    out, denominators = run(name, static, operands)
    if denominators is None:
        denominators = jnp.full(out.shape[:-1], jnp.nan)
    return out.reshape(*batch, *out.shape[1:]), denominators.reshape(*batch, *denominators.shape[1:])


def run(name: str, static: Static, x: Operands) -> tuple[Array, Array | None]:
    """The op by a backend: the output and, if `static.lse`, the denominators."""
    backend = BACKENDS[name]
    out, lse = (partial(fused, backend) if isinstance(backend, Differentiable) else backend.forward)(static, x)
    return out, lse if static.lse else None


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def fused(backend: Differentiable, static: Static, x: Operands) -> tuple[Array, Array]:
    """A backend's `forward`, with its own gradient."""
    forward = partial(backend.forward, static)
    return forward(x) if backend is xla else folds_vmap(forward)(each(x))


def each(x: Operands) -> Operands:
    """x with pairs for each example, as `folds_vmap` needs them."""
    return x if x.allowed is None else x._replace(allowed=jnp.broadcast_to(x.allowed, (len(x.q), *x.allowed.shape[1:])))


def _forward(backend: Differentiable, static: Static, x: Operands) -> tuple[tuple[Array, Array], Any]:
    out, lse = fused(backend, static, x)
    return (out, lse), (x, out, lse)


def _backward(backend: Differentiable, static: Static, kept: Any, cotangents: tuple[Array, Array]) -> tuple[Operands]:
    x, out, lse = kept
    d_out, d_lse = cotangents
    alone = jnp.isneginf(lse)
    # d logits = p (d p - delta); delta has a part from the softmax and one from the gradient of lse
    delta = (out.astype(jnp.float32) * d_out.astype(jnp.float32)).sum(-1) - jnp.where(alone, 0, d_lse)
    backward = partial(backend.backward, static)
    run, x = (backward, x) if backend is xla else (folds_vmap(backward), each(x))
    d_q, d_k, d_v, d_bias = run(Kept(x, jnp.where(alone, 0, lse)), Gradient(delta, d_out))
    return (Operands(d_q, d_k, d_v, None, None, d_bias, None),)


fused.defvjp(_forward, _backward)

OP = Op("softmax attention", __name__, BACKENDS, run, draw)
