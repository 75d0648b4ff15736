"""nystromformer: three small softmaxes and the iterated inverse of one."""

import numpy as np

from lra.models.oracles import Given, Heads, Mask


def oracle(q: Heads, k: Heads, v: Heads, mask: Mask, given: Given) -> Heads:
    """Xiong et al. 2021, 2102.03902, section 3: F Z B V with the iterated Z. A landmark is the mean over the real
    tokens in a segment of ceil(max_length / landmarks) positions; segments without a real token have none. The
    convolution adds sum_t conv[t] v[i + t - kernel // 2].
    """
    options, conv = given.options, given.weights["conv"]
    width, half = -(-given.sizes["max_length"] // options["landmarks"]), options["kernel"] // 2
    out = np.zeros_like(v)

    def kernel(queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
        weights = np.exp(queries @ keys.T / np.sqrt(q.shape[3]))
        return weights / weights.sum(1, keepdims=True)

    for b in np.flatnonzero(mask.any(1)):
        real = np.flatnonzero(mask[b])
        segments = [[j for j in real if j // width == s] for s in sorted(set(real // width))]
        for h in range(q.shape[2]):
            queries, keys, values = q[b, real, h], k[b, real, h], v[b, real, h]
            q_marks = np.stack([q[b, segment, h].mean(0) for segment in segments])
            k_marks = np.stack([k[b, segment, h].mean(0) for segment in segments])
            a, eye = kernel(q_marks, k_marks), np.eye(len(segments))
            z = a.T / (np.linalg.norm(a, 1) * np.linalg.norm(a, np.inf))
            for _ in range(options["iterations"]):
                z = z @ (13 * eye - a @ z @ (15 * eye - a @ z @ (7 * eye - a @ z))) / 4
            out[b, real, h] = kernel(queries, k_marks) @ z @ kernel(q_marks, keys) @ values
            for i in real:
                near = [j for j in real if abs(j - i) <= half]
                out[b, i, h] += sum(conv[j - i + half, h] * v[b, j, h] for j in near)
    return out
