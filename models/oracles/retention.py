"""retention: a sum over pairs of tokens with complex queries and keys."""

import numpy as np

from lra.models.oracles import Given, Mask, Tokens


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Sun et al. 2023, 2307.08621: heads (Q K^T * D) V with Q = X W_Q * Theta and K = X W_K * conj(Theta), Theta_n =
    exp(i n theta) (equation 5), gamma_h = 1 - 2^(-5-h), then a norm of each head, the swish gate and W_O (equation 8).

    D_nm = gamma^|n-m|, for m > n too. As in the authors' code, the norm divides by the root of the mean square.
    """
    heads, w = given.sizes["heads"], given.weights
    split = lambda name: (x @ w[f"{name}.kernel"]).reshape(*x.shape[:2], heads, -1)
    q, k, v = split("q"), split("k"), split("v")
    q, k = (y[..., 0::2] + 1j * y[..., 1::2] for y in (q, k))
    pairs = q.shape[-1]
    theta = 10_000.0 ** -(np.arange(pairs) / max(pairs - 1, 1))
    gate = x @ w["gate.kernel"]
    gate = gate / (1 + np.exp(-gate))
    y = np.zeros_like(v)
    for b, n in np.argwhere(mask):
        for h in range(heads):
            gamma = 1 - 2.0 ** (-5 - h)
            for m in np.flatnonzero(mask[b]):
                product = q[b, n, h] * np.exp(1j * n * theta) @ np.conj(k[b, m, h] * np.exp(1j * m * theta))
                y[b, n, h] += gamma ** abs(n - m) * product.real * v[b, m, h]
            y[b, n, h] /= np.sqrt((y[b, n, h] ** 2).mean() + 1e-6)
    return (gate * y.reshape(gate.shape)) @ w["out.kernel"]
