"""transnormer: attention within blocks, or a normed sum over all tokens."""

import numpy as np

from lra.models.oracles import Given, Heads, Mask, softmax


def oracle(q: Heads, k: Heads, v: Heads, mask: Mask, given: Given) -> Heads:
    """Qin et al. 2022, 2210.10340, section 4. The first floor(layers / 2) layers have the softmax (T2) or the relu (T1)
    of q_i . k_j / sqrt(head_dim) over the tokens of i's block. The others have sum_j phi(q_i) . phi(k_j) v_j with
    phi(x) = elu(x) (T1) or 1 + elu(x) (T2). Except for the softmax, all is divided by the root mean square of the
    token's heads together.
    """
    w, t1, sizes = given.options["block"], given.options["kind"] == "T1", given.sizes
    diagonal = sizes["layer"] < sizes["layers"] // 2
    out = np.zeros_like(v)

    def phi(x: np.ndarray) -> np.ndarray:
        return np.array([a if a > 0 else np.exp(a) - 1 for a in x]) + (0 if t1 else 1)

    def weight(query: np.ndarray, key: np.ndarray) -> float:
        return max(query @ key / np.sqrt(len(query)), 0) if diagonal else phi(query) @ phi(key)

    for b, i in np.argwhere(mask):
        seen = [j for j in np.flatnonzero(mask[b]) if i // w == j // w or not diagonal]
        for h in range(q.shape[2]):
            if diagonal and not t1:
                out[b, i, h], _ = softmax(q[b, i, h], k[b, seen, h], v[b, seen, h])
            else:
                out[b, i, h] = sum(weight(q[b, i, h], k[b, j, h]) * v[b, j, h] for j in seen)
        if t1 or not diagonal:
            out[b, i] /= np.sqrt(np.mean(out[b, i] ** 2) + given.options["epsilon"])
    return out
