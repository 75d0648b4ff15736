"""longformer: softmax over a window and the global tokens."""

import numpy as np

from lra.models.oracles import Given, Mask, Tokens, softmax


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Beltagy et al. 2020, 2004.05150, section 3.1, "Global Attention" and "Linear Projections for Global Attention"."""
    radius, g = given.options["radius"], given.options["global_tokens"]
    heads = given.sizes["heads"]
    width = given.sizes["qkv_dim"] // heads
    out = np.zeros((*x.shape[:2], heads * width))
    for b, i in np.argwhere(mask):
        kind = "_global" if i < g else ""
        project = lambda name, tokens: tokens @ given.weights[f"{name}{kind}.kernel"]
        keys = [j for j in np.flatnonzero(mask[b]) if i < g or j < g or abs(i - j) <= radius]
        for h in range(heads):
            own = slice(h * width, (h + 1) * width)
            q, k, v = project("q", x[b, i])[own], project("k", x[b, keys])[:, own], project("v", x[b, keys])[:, own]
            out[b, i, own], _ = softmax(q, k, v)
    return out @ given.weights["out.kernel"]
