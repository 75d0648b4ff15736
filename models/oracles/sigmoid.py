"""sigmoid: a sum over the keys, weighted by sigmoids."""

import numpy as np

from lra.models.oracles import Given, Heads, Mask, real_queries


def oracle(q: Heads, k: Heads, v: Heads, mask: Mask, given: Given) -> Heads:
    """Ramapuram et al. 2025, 2409.04431: sigmoid(q k^T / sqrt(d) + b) v with b = -log n, n real keys."""
    out = np.zeros_like(v)
    for row, i, h in real_queries(q, mask):
        for j in np.flatnonzero(mask[row]):
            logit = q[row, i, h] @ k[row, j, h] / np.sqrt(q.shape[-1]) - np.log(mask[row].sum())
            out[row, i, h] += v[row, j, h] / (1 + np.exp(-logit))
    return out
