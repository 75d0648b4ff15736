"""longformer: softmax over a window and the global tokens."""

import numpy as np

from lra.models.oracles import Given, Mask, Tokens, softmax


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Beltagy et al. 2020, 2004.05150, section 3.1: global tokens have projections of their own."""
    radius, g = given.options["radius"], given.options["global_tokens"]
    heads = given.sizes["heads"]
    width = given.sizes["qkv_dim"] // heads
    out = np.zeros((*x.shape[:2], heads * width))
    for b, i in np.argwhere(mask):
        w_q, w_k, w_v = (given.weights[f"{name}_global.kernel" if i < g else f"{name}.kernel"] for name in "qkv")
        keys = [j for j in np.flatnonzero(mask[b]) if i < g or j < g or abs(i - j) <= radius]
        for h in range(heads):
            own = slice(h * width, (h + 1) * width)
            out[b, i, own], _ = softmax(x[b, i] @ w_q[:, own], x[b, keys] @ w_k[:, own], x[b, keys] @ w_v[:, own])
    return out @ given.weights["out.kernel"]
