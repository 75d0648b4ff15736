"""h_transformer_1d: each pair of tokens at its own level."""

import numpy as np

from lra.models.oracles import Given, Heads, Mask, real_queries


def oracle(q: Heads, k: Heads, v: Heads, mask: Mask, given: Given) -> Heads:
    """Zhu and Soricut 2021, 2107.11906, section 6: a pair of tokens has the logit of the means of its groups, at the
    first level at which its blocks touch. A coarse value is the sum of its tokens' values, and counts once for each.
    """
    size, out = given.options["block"], np.zeros_like(v)

    def level(i: int, j: int) -> int:
        level = 0
        while abs(i // (size << level) - j // (size << level)) > 1:
            level += 1
        return level

    def mean(x: Heads, b: int, i: int, h: int, level: int) -> np.ndarray:
        start = (i >> level) << level
        group = [t for t in range(start, min(start + (1 << level), x.shape[1])) if mask[b, t]]
        return x[b, group, h].mean(0)

    for b, i, h in real_queries(q, mask):
        keys = np.flatnonzero(mask[b]).tolist()
        levels = [level(i, j) for j in keys]
        logits = [mean(q, b, i, h, n) @ mean(k, b, j, h, n) / np.sqrt(q.shape[-1]) for j, n in zip(keys, levels)]
        weights = np.exp(logits)
        out[b, i, h] = weights @ v[b, keys, h] / weights.sum()
    return out
