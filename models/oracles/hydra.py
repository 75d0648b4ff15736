"""hydra: the quasiseparable matrix of each head, number by number."""

import numpy as np

from lra.models.oracles import Given, Mask, Tokens


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Hwang et al. 2024, 2407.09941, definition 3.1: m_ij = c_{i-1}^T A_{i-1} ... A_{j+1} b_j below the diagonal, the
    same from the other side above it, and delta_i on it. A_t = exp(dt_t A) and b_t = dt_t B_t are those of Mamba-2. The
    tokens are the real ones alone.
    """
    w, heads, n = given.weights, given.sizes["heads"], given.options["state"]
    width, side = given.options["expand"] * given.sizes["qkv_dim"], given.options["conv"] // 2
    out = np.zeros_like(x)
    for row, real in enumerate(mask):
        z, xbc, dt = np.split(x[row, real] @ w["into.kernel"], [width, 2 * width + 4 * n], -1)
        tokens = range(len(z))
        read = np.zeros_like(xbc) + w["conv_bias"]
        for t in tokens:
            for s in range(max(t - side, 0), min(t + side + 1, len(z))):
                read[t] += w["conv"][s - t + side] * xbc[s]
        value, b_left, c_left, b_right, c_right = np.split(silu(read), width + n * np.arange(4), -1)
        y = np.zeros_like(value)
        for h in range(heads):
            part = slice(h * width // heads, (h + 1) * width // heads)
            left, right = (np.log1p(np.exp(dt[:, column] + w["dt_bias"][h])) for column in (h, heads + h))
            a = -np.exp(w["log_a"][h])
            for i in tokens:
                y[i, part] = (w["skip"][h] + value[i] @ w["diagonal.kernel"][:, h]) * value[i, part]
                for j in range(i):
                    m = np.exp(a * left[j + 1 : i].sum()) * (c_left[i - 1] @ b_left[j]) * left[j]
                    y[i, part] += m * value[j, part]
                for j in tokens[i + 1 :]:
                    m = np.exp(a * right[i + 1 : j].sum()) * (c_right[i + 1] @ b_right[j]) * right[j]
                    y[i, part] += m * value[j, part]
        y = y / np.sqrt((y**2).mean(-1, keepdims=True) + 1e-5) * w["norm.scale"] * silu(z)
        out[row, real] = y @ w["out.kernel"]
    return out
