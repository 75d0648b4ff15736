"""dilated: softmax in dilated segments of several scales."""

import numpy as np

from lra.models.oracles import Given, Heads, Mask, real_queries, softmax


def oracle(q: Heads, k: Heads, v: Heads, mask: Mask, given: Given) -> Heads:
    """Ding et al. 2023, 2307.02486, sections 2.2 and 2.3. In segments of w tokens head h keeps every r-th token, from
    token h mod r on. The outputs at the scales are added with weights s_i / sum_n s_n, where s_i is the denominator of
    the softmax at scale i.
    """
    segment, ratio = given.options["segment"], given.options["ratio"]
    scales = [(segment, 1)]
    while scales[-1][0] < given.sizes["max_length"]:
        scales.append((scales[-1][0] * ratio, scales[-1][1] * ratio))
    out = np.zeros_like(v)
    for b, i, h in real_queries(q, mask):
        outputs, denominators = [], []
        for w, r in scales:
            start = i // w * w
            kept = [j for j in range(start, min(start + w, q.shape[1])) if (j - start) % r == h % r]
            if i in kept:
                kept = [j for j in kept if mask[b, j]]
                part, denominator = softmax(q[b, i, h], k[b, kept, h], v[b, kept, h])
                outputs.append(part)
                denominators.append(denominator)
        out[b, i, h] = sum(s / sum(denominators) * part for s, part in zip(denominators, outputs))
    return out
