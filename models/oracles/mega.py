"""mega: an exponential moving average a step at a time, and attention a pair of tokens at a time."""

import math
from collections.abc import Mapping

import numpy as np

from lra.models.oracles import Given, Mask, Tokens

sigmoid = lambda x: 1 / (1 + np.exp(-x))
silu = lambda x: x * sigmoid(x)


def moving_average(x: Tokens, mask: Mask, w: Mapping[str, np.ndarray]) -> Tokens:
    """h_t = alpha' beta x_t + (1 - alpha' delta') h_{t-1}, y_t = eta . h_t / sqrt(N) in each channel and direction
    (alpha', delta' and eta are sigmoid(delta), sigmoid(alpha) and gamma of the authors' code); x of padding is 0.
    """
    y = np.zeros_like(x)
    for way, order in enumerate((range(x.shape[1]), range(x.shape[1])[::-1])):
        p, beta, gamma = sigmoid(w["delta"][way]), w["beta"][way], w["gamma"][way]
        h = np.zeros((len(x), *p.shape))
        for t in order:
            token = np.where(mask[:, t, None], x[:, t], 0)
            h = p * beta * token[..., None] + (1 - p * sigmoid(w["alpha"][way])) * h
            y[:, t] += (gamma * h).sum(-1) / np.sqrt(p.shape[-1])
    return y


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Ma et al. 2023, 2209.10655, as printed, except that X' = silu(EMA(X) + omega X) as in the authors' code.

    Softmax is that of Q K^T / sqrt(z) + b. The Laplace function has mu = sqrt(1/2), sigma = sqrt(1/(4 pi)), and takes Q
    K^T / n + b, with n real keys. A token sees its own chunk. X is subtracted from the printed output: the block adds
    it.
    """
    w, chunk = given.weights, given.options["chunk"] or x.shape[1]
    dense = lambda name, x: x @ w[f"{name}.kernel"] + w.get(f"{name}.bias", 0)
    averaged = silu(moving_average(x, mask, w) + w["omega"] * x)
    z = silu(dense("z", averaged))
    q, k = (w["kappa"][i] * z + w["mu"][i] for i in (0, 1))
    v, r = silu(dense("v", x)), silu(dense("r", averaged))
    middle = (given.options["chunk"] or given.sizes["max_length"]) - 1
    out = np.zeros_like(x)
    for b, i in np.argwhere(mask):
        keys = [j for j in np.flatnonzero(mask[b]) if j // chunk == i // chunk]
        bias = np.array([w["distances"][middle + j - i] if "distances" in w else 0.0 for j in keys])
        products = k[b, keys] @ q[b, i]
        if given.options["attention"] == "softmax":
            weights = np.exp(products / np.sqrt(q.shape[-1]) + bias)
            weights = weights / weights.sum()
        else:
            scaled = (products / len(keys) + bias - np.sqrt(1 / 2)) / np.sqrt(2 / (4 * np.pi))
            weights = np.array([(1 + math.erf(s)) / 2 for s in scaled])
        attended = weights @ v[b, keys]
        h = silu(dense("h", averaged[b, i]) + dense("out", r[b, i] * attended))
        u = sigmoid(dense("u", averaged[b, i]))
        out[b, i] = u * h + (1 - u) * x[b, i] - x[b, i]
    return out
