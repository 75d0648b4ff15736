"""cosformer2: sums over pairs of tokens, in the first layer after a positional encoding."""

import numpy as np

from lra.models.oracles import Given, Mask, Tokens


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """The parts of section 2 of Shen et al. 2024, 2406.16690: scores q_t . k_s with cos(theta (t-s)) in each channel
    (LRPE), a norm without a denominator, a gate of the rank of a head's width. In the first layer, the Toeplitz
    positional encoding p_t = sum_s sum_n a_n lambda_n^|t-s| x_s is added to the tokens and to the output.
    """
    w, heads = given.weights, given.sizes["heads"]
    p = np.zeros_like(x)
    if given.sizes["layer"] == 0:
        decays = 1 / (1 + np.exp(-w["decays"]))
        for b, t in np.argwhere(mask):
            for s in np.flatnonzero(mask[b]):
                p[b, t] += (w["weights"] * decays ** abs(t - s)).sum(-1) * x[b, s]
    x = x + p
    q, k, v = (x @ w[f"{name}.kernel"] for name in "qkv")
    q, k = (y / (1 + np.exp(-y)) for y in (q, k))
    q, k, v = (y.reshape(*x.shape[:2], heads, -1) for y in (q, k, v))
    y = np.zeros_like(v)
    for b, t in np.argwhere(mask):
        for h in range(heads):
            for s in np.flatnonzero(mask[b]):
                y[b, t, h] += (q[b, t, h] * k[b, s, h] * np.cos(w["theta"][h] * (t - s))).sum() * v[b, s, h]
    y = y.reshape(*x.shape[:2], -1)
    y = y / np.sqrt((y**2).mean(-1, keepdims=True) + 1e-6)
    gate = 1 / (1 + np.exp(-(x @ w["gate.kernel"] @ w["gate2.kernel"])))
    return (y * gate) @ w["out.kernel"] + p
