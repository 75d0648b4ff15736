"""differential: two softmax attentions for each head, subtracted."""

import numpy as np

from lra.models.oracles import Given, Heads, Mask, real_queries, softmax


def oracle(q: Heads, k: Heads, v: Heads, mask: Mask, given: Given) -> Heads:
    """Ye et al. 2025, 2410.05258, equations 1 to 3: heads 2 n and 2 n + 1 have the two groups of queries and keys, and
    the two halves of the values, of the paper's head n. The layers of the paper are counted from 1.
    """
    w, start = given.weights, 0.8 - 0.6 * np.exp(-0.3 * given.sizes["layer"])
    a, b = w["query_weights"], w["key_weights"]
    share = np.exp(a[0] @ b[0]) - np.exp(a[1] @ b[1]) + start
    out = np.zeros_like(v)
    for row, i, h in real_queries(q, mask):
        if h % 2:
            continue
        keys = k[row, mask[row]]
        values = np.concatenate([v[row, mask[row], h], v[row, mask[row], h + 1]], -1)
        y = softmax(q[row, i, h], keys[:, h], values)[0] - share * softmax(q[row, i, h + 1], keys[:, h + 1], values)[0]
        y = (1 - start) * w["norm.scale"] * y / np.sqrt(np.mean(y**2) + 1e-5)
        out[row, i, h], out[row, i, h + 1] = np.split(y, 2)
    return out
