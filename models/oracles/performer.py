"""performer: positive random features."""

import numpy as np

from lra.models.oracles import Given, Heads, Mask, kernel_attention


def oracle(q: Heads, k: Heads, v: Heads, mask: Mask, given: Given) -> Heads:
    """Choromanski et al. 2021, 2009.14794: phi(x) = exp(w . x - |x|^2 / 2) / sqrt(m) for each of m rows w (lemma 1), of
    q and k divided by head_dim^1/4 (section 2.1).

    The authors' code divides the features by a constant and then adds epsilon. The constant of a query is its greatest
    feature; that of keys is the greatest feature of all real keys of the head. With epsilon = 0 this changes nothing.
    """

    projection, epsilon = given.weights["projection"], given.options["epsilon"]

    def feature(x: np.ndarray) -> np.ndarray:
        x = x / len(x) ** 0.25
        return np.exp(projection @ x - sum(x * x) / 2)

    def greatest_key(b: int, h: int) -> float:
        return max(feature(k[b, j, h]).max() for j in np.flatnonzero(mask[b]))

    if epsilon == 0:
        return kernel_attention(lambda *i: feature(q[i]), lambda *j: feature(k[j]), q, k, v, mask, 0.0)
    greatest = {(b, h): greatest_key(b, h) for b in np.flatnonzero(mask.any(1)).tolist() for h in range(q.shape[2])}
    of_query = lambda *i: feature(q[i]) / feature(q[i]).max() + epsilon
    of_key = lambda b, j, h: feature(k[b, j, h]) / greatest[b, h] + epsilon
    return kernel_attention(of_query, of_key, q, k, v, mask, 0.0)
