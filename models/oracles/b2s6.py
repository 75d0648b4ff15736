"""b2s6: a selective state space for each channel, a step at a time."""

import numpy as np

from lra.models.oracles import Given, Mask, Tokens


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Yu and Erichson 2025, 2505.09022, B2S6 in the block of Mamba (2312.00752, section 3.4): for channel i of block j,
    h_k = exp(Delta_k A) h_{k-1} + Delta_k (W_B^j u_k^j + b^{j,i}) u_k^{j,i} and y_k = Re((W_C^j u_k^j) . h_k) + D u_k
    with Delta_k = softplus(w^j . u_k^j + b_Delta^{j,i}), over the real tokens forward and backward. Each direction has
    its own parameters. The sum of both, gated by silu(z), is projected.
    """
    w, taps, blocks = given.weights, given.options["conv"], given.options["blocks"]
    silu = lambda y: y / (1 + np.exp(-y))
    w_b, w_c, bias = (w[name][0] + 1j * w[name][1] for name in ("b", "c", "bias"))
    out = np.zeros_like(x)
    for row in range(len(x)):
        inner, z = np.split(x[row] @ w["into.kernel"], 2, -1)
        y = np.zeros_like(inner)
        size = inner.shape[1] // blocks
        for way in (0, 1):
            step = 1 - 2 * way
            a = -np.exp(w["log_decay"][way]) + 1j * w["frequency"][way]
            h = np.zeros((inner.shape[1], len(a)), complex)
            for k in np.flatnonzero(mask[row])[::step]:
                u = w["conv_bias"][way]
                for tap in range(taps):
                    s = k - step * (taps - 1 - tap)
                    if 0 <= s < len(inner) and mask[row, s]:
                        u = u + w["conv"][tap, way] * inner[s]
                u = silu(u)
                for channel in range(len(u)):
                    j, i = divmod(channel, size)
                    of_block = u[j * size : (j + 1) * size]
                    delta = np.log1p(np.exp(w["dt"][way, j] @ of_block + w["dt_bias"][way, j, i]))
                    b = of_block @ w_b[way, j] + bias[way, j, :, i]
                    h[channel] = np.exp(delta * a) * h[channel] + delta * b * u[channel]
                    y[k, channel] += (of_block @ w_c[way, j] @ h[channel]).real + w["skip"][way, channel] * u[channel]
        out[row] = (y * silu(z)) @ w["out.kernel"]
    return out
