"""Softmax attention and its gradients in float64, written from the formula; and problems to compare on."""

from typing import NamedTuple

import numpy as np

from lra.models.kernels.softmax.pattern import FULL, Pattern


class Result(NamedTuple):
    out: np.ndarray
    lse: np.ndarray
    d_q: np.ndarray
    d_k: np.ndarray
    d_v: np.ndarray
    d_bias: np.ndarray | None


def oracle(
    q, k, v, d_out, d_lse=None, *, mask=None, pattern: Pattern = FULL, allowed=None, bias=None, kept=None, rate=0.0
) -> Result:
    """What `attend` says it computes, computed from every pair of query and key.

    Args:
      q, k, v: [batch, length, heads, width], as attend's.
      d_out, d_lse: the gradients of something by both results; of a query without a key, d_lse counts as 0.
      kept: [batch, heads, queries, keys], which probabilities are not dropped.
    """
    q, k, v, d_out = (np.asarray(x).astype(np.float64) for x in (q, k, v, d_out))
    (batch, queries, heads, width), keys = q.shape, k.shape[1]
    pairs = (batch, heads, queries, keys)

    seen = np.broadcast_to(pattern.allowed(np.arange(queries)[:, None], np.arange(keys)), pairs)
    if mask is not None:
        seen = seen & np.swapaxes(mask, 1, 2)[:, :, None, :]
    if allowed is not None:
        seen = seen & np.asarray(allowed)
    logits = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(width)
    if bias is not None:
        logits = logits + np.asarray(bias).astype(np.float64)
    logits = np.where(seen, logits, -np.inf)

    top = logits.max(-1, keepdims=True, initial=-np.inf)
    alone = np.isneginf(top)
    weights = np.exp(logits - np.where(alone, 0, top))
    total = weights.sum(-1, keepdims=True)
    p = weights / np.where(alone, 1, total)
    lse = np.where(alone, -np.inf, np.log(np.where(alone, 1, total)) + top)
    factor = 1.0 if kept is None else np.asarray(kept) / (1 - rate)

    d_weighted = np.einsum("bqhe,bkhe->bhqk", d_out, v)
    d_p = d_weighted * factor
    d_logits = p * (d_p - (p * d_p).sum(-1, keepdims=True))
    if d_lse is not None:
        d_logits += p * np.swapaxes(np.asarray(d_lse).astype(np.float64), 1, 2)[..., None]
    return Result(
        np.einsum("bhqk,bkhe->bqhe", p * factor, v),
        np.swapaxes(lse[..., 0], 1, 2),
        np.einsum("bhqk,bkhd->bqhd", d_logits, k) / np.sqrt(width),
        np.einsum("bhqk,bqhd->bkhd", d_logits, q) / np.sqrt(width),
        np.einsum("bhqk,bqhe->bkhe", p * factor, d_out),
        None if bias is None else summed_to(d_logits, np.shape(bias)),
    )


def summed_to(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of an array that was broadcast from this shape."""
    shape = (1,) * (x.ndim - len(shape)) + shape
    return x.sum(tuple(axis for axis, size in enumerate(shape) if size == 1 != x.shape[axis]), keepdims=True)


def problem(batch: int, queries: int, keys: int, heads: int = 2, head_dim: int = 8, value_dim: int | None = None):
    """q, k, v, d_out and d_lse in float32."""
    rng = np.random.default_rng(queries * 1000 + keys)
    value_dim = head_dim if value_dim is None else value_dim
    shapes = [(queries, head_dim), (keys, head_dim), (keys, value_dim), (queries, value_dim)]
    arrays = [rng.normal(size=(batch, n, heads, width)).astype(np.float32) for n, width in shapes]
    return *arrays, rng.normal(size=(batch, queries, heads)).astype(np.float32)


def assert_close(results, expected: Result, tolerance: float = 1e-5) -> None:
    """Relative to the largest magnitude of each; -inf where the oracle has it."""
    for name, x, y in zip(Result._fields, results, expected):
        if y is None:
            continue
        x, finite = np.asarray(x).astype(np.float64).reshape(y.shape), np.isfinite(y)
        np.testing.assert_array_equal(x[~finite], y[~finite], err_msg=name)
        scale = np.abs(y[finite]).max(initial=0.0)
        error = np.abs(x[finite] - y[finite]).max(initial=0.0)
        assert error <= tolerance * max(scale, 1e-3), f"{name}: off by {error:.2e}, the largest is {scale:.2e}"
