"""mamba: a state space with a step, an input and an output of each token's own, a step at a time."""

import numpy as np

from lra.models.oracles import Given, Mask, Tokens


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Gu and Dao 2023, 2312.00752, algorithm 2 in the block of section 3.4: h_t = exp(Delta_t A) h_{t-1} + Delta_t B_t
    x_t and y_t = C_t h_t + D x_t in each channel, over the real tokens forward and backward. Each direction has its own
    depthwise convolution, projections, A and D. The sum of both, gated by silu(z), is projected.
    """
    w, taps = given.weights, given.options["conv"]
    silu = lambda y: y / (1 + np.exp(-y))
    rank, state = w["dt"].shape[1], given.options["state"]
    out = np.zeros_like(x)
    for row in range(len(x)):
        inner, z = np.split(x[row] @ w["into.kernel"], 2, -1)
        y = np.zeros_like(inner)
        for way in (0, 1):
            step = 1 - 2 * way
            h = np.zeros((inner.shape[1], state))
            for t in np.flatnonzero(mask[row])[::step]:
                u = w["conv_bias"][way]
                for tap in range(taps):
                    s = t - step * (taps - 1 - tap)
                    if 0 <= s < len(inner) and mask[row, s]:
                        u = u + w["conv"][tap, way] * inner[s]
                u = silu(u)
                selected = u @ w["select"][way]
                low, b, c = selected[:rank], selected[rank : rank + state], selected[rank + state :]
                dt = np.log1p(np.exp(low @ w["dt"][way] + w["dt_bias"][way]))
                a = -np.exp(w["log_a"][way].T)
                h = np.exp(dt[:, None] * a) * h + (dt * u)[:, None] * b
                y[t] += h @ c + w["skip"][way] * u
        out[row] = (y * silu(z)) @ w["out.kernel"]
    return out
