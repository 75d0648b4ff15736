"""lru: a diagonal recurrence, a step at a time."""

import numpy as np

from lra.models.oracles import Given, Mask, Tokens


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Orvieto et al. 2023, 2303.06349: x_k = Lambda x_{k-1} + gamma * (B u_k) with Lambda = exp(-exp(nu) + i
    exp(theta)), y_k = Re(C x_k) + D u_k, over the real tokens forward and backward, each with its own C. Then GELU,
    approximated by tanh, and GLU: the sigmoid of half of a dense layer times the other half. In half-GLU it is times
    the GELU.
    """
    w = given.weights
    b, c = (w[name][0] + 1j * w[name][1] for name in ("b", "c"))
    a, gamma = np.exp(-np.exp(w["nu"]) + 1j * np.exp(w["theta"])), np.exp(w["log_gamma"])
    out = np.zeros_like(x)
    for row, real in enumerate(mask):
        tokens = np.flatnonzero(real)
        y = w["d"] * x[row]
        for way in (0, 1):
            state = np.zeros(len(a), complex)
            for k in tokens[:: 1 - 2 * way]:
                state = a * state + gamma * (b @ x[row, k])
                y[k] += (c[way] @ state).real
        for k in tokens:
            g = y[k] / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (y[k] + 0.044715 * y[k] ** 3)))
            dense = g @ w["glu.kernel"] + w["glu.bias"]
            gate, value = (dense, g) if given.options["half_glu"] else np.split(dense, 2)
            out[row, k] = value / (1 + np.exp(-gate))
    return out
