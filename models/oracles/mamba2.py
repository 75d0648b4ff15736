"""mamba2: the recurrence, token by token."""

import numpy as np

from lra.models.oracles import Given, Mask, Tokens


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def one_way(
    x: np.ndarray, dt: np.ndarray, real: np.ndarray, a: np.ndarray, w: dict[str, np.ndarray], n: int
) -> np.ndarray:
    """h_t = exp(dt A) h_{t-1} + dt B_t x_t, y_t = C_t . h_t + D x_t (Dao and Gu 2024, 2405.21060), of one row. The
    argument x has the channels of the paper's x, B and C before the convolution.
    """
    heads, y = len(a), np.zeros((len(x), x.shape[1] - 2 * n))
    state = np.zeros((heads, y.shape[1] // heads, n))
    for t in np.flatnonzero(real):
        taps = range(len(w["conv"]))
        read = sum((w["conv"][-1 - s] * x[t - s] for s in taps if t - s >= 0 and real[t - s]), w["conv_bias"])
        token, b, c = np.split(silu(read), [y.shape[1], y.shape[1] + n])
        for h, part in enumerate(np.split(token, heads)):
            step = np.log1p(np.exp(dt[t, h] + w["dt_bias"][h]))
            state[h] = np.exp(step * a[h]) * state[h] + step * np.outer(part, b)
            y[t, h * len(part) : (h + 1) * len(part)] = state[h] @ c + w["skip"][h] * part
    return y


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """out = RMSNorm(y * silu(z)) W_out, where y is the sum of a pass from the left and one from the right. Padding is
    no token: the convolution reads 0 there.
    """
    w, heads, n = given.weights, given.sizes["heads"], given.options["state"]
    width = given.options["expand"] * given.sizes["qkv_dim"]
    z, xbc, dt = np.split(x @ w["into.kernel"], [width, 2 * width + 2 * n], -1)
    y = np.zeros_like(z)
    for way, order in enumerate((slice(None), slice(None, None, -1))):
        own = {"conv": w["conv"][:, way]} | {name: w[name][way] for name in ("conv_bias", "dt_bias", "skip")}
        a = -np.exp(w["log_a"][way])
        for b in range(len(x)):
            steps = dt[b, :, way * heads : (way + 1) * heads]
            y[b] += one_way(xbc[b, order], steps[order], mask[b, order], a, own, n)[order]
    y = y * silu(z)
    y = y / np.sqrt((y**2).mean(-1, keepdims=True) + 1e-5)
    return (y * w["norm.scale"]) @ w["out.kernel"]
