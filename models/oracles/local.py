"""local: softmax over a sliding window."""

import numpy as np

from lra.models.oracles import Given, Heads, Mask, real_queries, softmax


def oracle(q: Heads, k: Heads, v: Heads, mask: Mask, given: Given) -> Heads:
    """Beltagy et al. 2020, 2004.05150, section 3.1, "Sliding Window": radius tokens on each side."""
    radius = given.options["radius"]
    out = np.zeros_like(v)
    for b, i, h in real_queries(q, mask):
        window = [j for j in range(q.shape[1]) if mask[b, j] and -radius <= i - j <= radius]
        out[b, i, h], _ = softmax(q[b, i, h], k[b, window, h], v[b, window, h])
    return out
