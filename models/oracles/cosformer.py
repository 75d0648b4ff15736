"""cosformer: rectified features, and a cosine of the distance."""

import numpy as np

from lra.models.oracles import Given, Heads, Mask, real_queries


def oracle(q: Heads, k: Heads, v: Heads, mask: Mask, given: Given) -> Heads:
    """Qin et al. 2022, 2202.08791, section 3: s_ij = relu(q_i) . relu(k_j) cos(pi/2 (i - j)/M), and the output sum_j
    s_ij v_j / sum_j s_ij. As in the authors' code, the divisor is at least epsilon.
    """
    out = np.zeros_like(v)
    for b, i, h in real_queries(q, mask):
        similarities = {}
        for j in np.flatnonzero(mask[b]):
            product = sum(a * c for a, c in zip(q[b, i, h], k[b, j, h]) if a > 0 and c > 0)
            similarities[j] = product * np.cos(np.pi / 2 * (i - j) / given.sizes["max_length"])
        total = max(sum(similarities.values()), given.options["epsilon"])
        out[b, i, h] = sum(s * v[b, j, h] for j, s in similarities.items()) / total
    return out
