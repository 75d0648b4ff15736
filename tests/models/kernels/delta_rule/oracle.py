"""The delta rule and its gradients in float64, token by token; and problems to compare on."""

from typing import NamedTuple

import numpy as np

KINDS = {"none": None, "token": 1, "channel": 4}  # channels of the log-decay of a token


class Result(NamedTuple):
    y: np.ndarray
    d_q: np.ndarray
    d_k: np.ndarray
    d_v: np.ndarray
    d_beta: np.ndarray
    d_log_decay: np.ndarray


def oracle(q, k, v, beta, log_decay, dy) -> Result:
    """S <- diag(exp(log_decay)) S; S <- S + beta k (v - S^T k)^T; y = S^T q (Yang et al. 2024, 2412.06464, equation
    10), and the gradients of the sum of y * dy.
    """
    channels = 1 if log_decay is None else log_decay.shape[-1]
    log_decay = np.zeros((*q.shape[:3], 1)) if log_decay is None else log_decay
    q, k, v, beta, log_decay, dy = (np.float64(x) for x in (q, k, v, beta, log_decay, dy))
    decay, beta = np.exp(np.broadcast_to(log_decay, q.shape))[..., None], beta[..., None]
    out = Result(*(np.zeros(x.shape) for x in (v, q, k, v, beta, q)))
    states, decayed, missing = [np.zeros((*q[:, 0].shape, v.shape[-1]))], [], []
    for i in range(q.shape[1]):
        decayed.append(decay[:, i] * states[-1])
        missing.append(v[:, i] - np.einsum("bhde,bhd->bhe", decayed[i], k[:, i]))
        states.append(decayed[i] + k[:, i, :, :, None] * (beta[:, i] * missing[i])[:, :, None])
        out.y[:, i] = np.einsum("bhde,bhd->bhe", states[-1], q[:, i])
    d_state = np.zeros(states[0].shape)
    for i in reversed(range(q.shape[1])):
        out.d_q[:, i] = np.einsum("bhde,bhe->bhd", states[i + 1], dy[:, i])
        d_state = d_state + q[:, i, :, :, None] * dy[:, i, :, None]
        d_added = np.einsum("bhde,bhd->bhe", d_state, k[:, i])
        out.d_beta[:, i] = (d_added * missing[i]).sum(-1, keepdims=True)
        out.d_v[:, i] = beta[:, i] * d_added
        out.d_k[:, i] = np.einsum("bhde,bhe->bhd", d_state, beta[:, i] * missing[i])
        out.d_k[:, i] -= np.einsum("bhde,bhe->bhd", decayed[i], out.d_v[:, i])
        d_state = decay[:, i] * (d_state - k[:, i, :, :, None] * out.d_v[:, i, :, None])
        out.d_log_decay[:, i] = (d_state * states[i]).sum(-1)
    out = out._replace(d_beta=out.d_beta[..., 0])
    if channels == 1:
        out = out._replace(d_log_decay=out.d_log_decay.sum(-1, keepdims=True))
    return out


def problem(length: int, kind: str, key_dim=4, value_dim=3, heads=2, batch=2, strongest=200.0):
    """q, k, v, beta, log-decay and dy: keys of length 1, beta from 0 to 2, decays from none to exp(-strongest)."""
    rng, shape = np.random.default_rng(length), (batch, length, heads)
    normal = lambda *size: rng.normal(size=size).astype(np.float32)
    k = normal(*shape, key_dim)
    channels = KINDS[kind]
    decay = -np.float32(strongest) * rng.uniform(size=(*shape, min(channels or 1, key_dim))) ** 8
    return (
        normal(*shape, key_dim), k / np.linalg.norm(k, axis=-1, keepdims=True), normal(*shape, value_dim),
        rng.uniform(0, 2, shape).astype(np.float32), decay.astype(np.float32) if channels else None,
        normal(*shape, value_dim),
    )  # fmt: skip
