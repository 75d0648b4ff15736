"""Linear attention and its gradients in float64, token by token; and problems to compare on."""

from typing import NamedTuple

import numpy as np

BATCH, HEADS = 2, 2

# shapes of log-decays: one a head, one a token, one a channel of each token or of all
KINDS = {
    "none": None,
    "constant": lambda batch, length, heads, dim: (1, 1, heads, 1),
    "token": lambda batch, length, heads, dim: (batch, length, heads, 1),
    "channel": lambda batch, length, heads, dim: (batch, length, heads, dim),
    "channels": lambda batch, length, heads, dim: (1, 1, heads, dim),
}


class Result(NamedTuple):
    y: np.ndarray
    d_q: np.ndarray
    d_k: np.ndarray
    d_v: np.ndarray
    d_log_decay: np.ndarray


def recurrence(q, k, v, log_decay, dy) -> Result:
    """y_i = S_i^T q_i, S_i = diag(exp(log_decay_i)) S_{i-1} + k_i v_i^T, and the gradients of the sum of y * dy."""
    decay = np.exp(log_decay)[..., None]
    out = Result(np.zeros(v.shape), *(np.zeros(x.shape) for x in (q, k, v, q)))
    states = [np.zeros((q.shape[0], *q.shape[2:], v.shape[-1]))]
    for i in range(q.shape[1]):
        states.append(decay[:, i] * states[-1] + k[:, i, ..., None] * v[:, i, :, None])
        out.y[:, i] = np.einsum("bhde,bhd->bhe", states[-1], q[:, i])
        out.d_q[:, i] = np.einsum("bhde,bhe->bhd", states[-1], dy[:, i])
    d_state = np.zeros(states[0].shape)
    for i in reversed(range(q.shape[1])):
        d_state = d_state + q[:, i, ..., None] * dy[:, i, :, None]
        out.d_k[:, i] = np.einsum("bhde,bhe->bhd", d_state, v[:, i])
        out.d_v[:, i] = np.einsum("bhde,bhd->bhe", d_state, k[:, i])
        d_state = decay[:, i] * d_state
        out.d_log_decay[:, i] = (states[i] * d_state).sum(-1)
    return out


def oracle(q, k, v, log_decay, dy, *, mask=None, causal=True, reverse=False, own_twice=False) -> Result:
    """The oracle in one direction if causal, otherwise in both. What the mask hides adds nothing and decays nothing;
    `log_decay` has a decay for each token then.
    """
    if mask is not None:
        k, log_decay = (np.where(mask[..., None, None], x, 0) for x in (np.asarray(k).astype(np.float64), log_decay))
        seen = oracle(q, k, v, log_decay, dy, causal=causal, reverse=reverse, own_twice=own_twice)
        hide = lambda x: x * mask[..., None, None]
        return seen._replace(d_k=hide(seen.d_k), d_log_decay=hide(seen.d_log_decay))
    shape = (*q.shape[:3], 1) if log_decay is None else np.shape(log_decay)
    q, k, v, dy = (np.asarray(x).astype(np.float64) for x in (q, k, v, dy))
    log_decay = np.broadcast_to(np.float64(0.0 if log_decay is None else log_decay), q.shape)
    one_way = recurrence(*(x[:, ::-1] if reverse else x for x in (q, k, v, log_decay, dy)))
    one_way = Result(*(x[:, ::-1] if reverse else x for x in one_way))
    if not causal:
        other = oracle(q, k, v, log_decay, dy, reverse=True)
        one_way = Result(*(x + y for x, y in zip(one_way, other)))
        if not own_twice:
            by_value = (dy * v).sum(-1, keepdims=True)
            own = (q * k).sum(-1, keepdims=True)
            once = Result(own * v, by_value * k, by_value * q, own * dy, 0 * q)
            one_way = Result(*(x - y for x, y in zip(one_way, once)))
    axes = tuple(axis for axis, size in enumerate(shape) if size == 1 != q.shape[axis])
    return one_way._replace(d_log_decay=one_way.d_log_decay.sum(axes, keepdims=True))


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def problem(length: int, kind: str, key_dim=4, value_dim=3, heads=HEADS, strongest=200.0, batch=BATCH):
    """q, k, v, dy, and log-decays from 0 to -strongest; nearly all leave much of the state after hundreds of tokens."""
    shape = (batch, length, heads)
    q, k = normal(*shape, key_dim), normal(*shape, key_dim, seed=1)
    v, dy = normal(*shape, value_dim, seed=2), normal(*shape, value_dim, seed=3)
    if kind == "none":
        return q, k, v, None, dy
    exponent = np.random.default_rng(4).uniform(-5, -1, KINDS[kind](*shape, key_dim))
    decay = -(np.float32(10) ** exponent.astype(np.float32))
    if decay.shape[1] > 1:
        decay[:, 1::5], decay[:, length // 4], decay[:, length // 3] = 0, -strongest, -strongest / 40
    return q, k, v, decay, dy


def assert_close(results, expected: Result, tolerance: float = 1e-5) -> None:
    """Relative to the largest magnitude of each; a result of None is left out."""
    for name, x, y in zip(Result._fields, results, expected, strict=True):
        if x is None:
            continue
        x = np.asarray(x).astype(np.float64)
        assert x.shape == y.shape, f"{name} is of shape {x.shape}, not {y.shape}"
        error, scale = np.abs(x - y).max(), np.abs(y).max()
        assert error <= tolerance * max(scale, 1e-3), f"{name}: off by {error:.2e}, the largest is {scale:.2e}"
