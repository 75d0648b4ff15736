"""transformer: softmax over all real tokens."""

import numpy as np

from lra.models.oracles import Given, Heads, Mask, real_queries, softmax


def oracle(q: Heads, k: Heads, v: Heads, mask: Mask, given: Given) -> Heads:
    """Vaswani et al. 2017, 1706.03762, equation 1."""
    out = np.zeros_like(v)
    for b, i, h in real_queries(q, mask):
        out[b, i, h], _ = softmax(q[b, i, h], k[b, mask[b], h], v[b, mask[b], h])
    return out
