"""s4d: the kernel of each channel, a lag at a time."""

import numpy as np

from lra.models.oracles import Given, Mask, Tokens


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Gu et al. 2022, 2206.11893, section 3: the convolution with the kernel C A^l B, where A = exp(Delta A) and B =
    (A - 1) / A by zero-order hold, twice the real part for conjugate pairs, plus D u. A second kernel, with its own C,
    goes over the tokens behind; its lag 0 is the next token. Padding counts for lags and holds 0. Then GELU,
    approximated by tanh, and the GLU. In the discrete Fourier domain (2508.20441) the imaginary part of Delta A is
    itself a parameter.
    """
    w = given.weights
    step = np.exp(w["log_step"])
    turn = w["frequency"] if given.options["init"] == "dfout" else step * w["frequency"]
    log_a = -step * np.exp(w["log_decay"]) + 1j * turn
    a, b = np.exp(log_a), (np.exp(log_a) - 1) / (log_a / step)
    c = w["c"][0] + 1j * w["c"][1]
    out = np.zeros_like(x)
    for row, real in enumerate(mask):
        tokens = np.flatnonzero(real)
        for i in tokens:
            y = w["d"] * x[row, i]
            for j in tokens:
                way, lag = (0, i - j) if j <= i else (1, j - i - 1)
                y = y + 2 * (c[way] * a**lag * b).sum(-1).real * x[row, j]
            g = y / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3)))
            value, gate = np.split(g @ w["glu.kernel"] + w["glu.bias"], 2)
            out[row, i] = value / (1 + np.exp(-gate))
    return out
