"""linformer: softmax to mixtures of the keys."""

import numpy as np

from lra.models.oracles import Given, Heads, Mask, real_queries, softmax


def oracle(q: Heads, k: Heads, v: Heads, mask: Mask, given: Given) -> Heads:
    """Wang et al. 2020, 2006.04768, equation 7: softmax(q (E k)^T / sqrt(head_dim)) F v over the real tokens."""
    e = given.weights["e"]
    f = given.weights.get("f", e)
    out = np.zeros_like(v)
    for b, i, h in real_queries(q, mask):
        real = np.flatnonzero(mask[b])
        keys = np.sum([np.outer(e[:, j], k[b, j, h]) for j in real], 0)
        values = np.sum([np.outer(f[:, j], v[b, j, h]) for j in real], 0)
        out[b, i, h], _ = softmax(q[b, i, h], keys, values)
    return out
