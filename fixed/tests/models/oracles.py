"""What the papers say the variants compute, token by token in NumPy: slow, dense, and nothing shared with models/.

q, k, v are [batch, length, heads, head_dim]; mask is [batch, length], True for a real token. The outputs of
padded queries are left 0 and mean nothing. Formulas are as printed, without the maxima that implementations
subtract, and hold for complex arrays too: that is how `derivative` differentiates them.
"""

from collections.abc import Callable, Iterator

import numpy as np


def derivative(f: Callable, arrays: list[np.ndarray], directions: list[np.ndarray]) -> np.ndarray:
    """d/dt f(arrays + t directions) at t = 0 by the complex step (Squire and Trapp 1998), exact to rounding."""
    tiny = 1e-30
    return np.imag(f(*(x + 1j * tiny * d for x, d in zip(arrays, directions)))) / tiny


def real_queries(q: np.ndarray, mask: np.ndarray) -> Iterator[tuple[int, int, int]]:
    return ((b, i, h) for b, i in np.argwhere(mask) for h in range(q.shape[2]))


def empty(*arrays: np.ndarray) -> np.ndarray:
    return np.zeros(arrays[0].shape, np.result_type(*arrays))


def softmax(query: np.ndarray, keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """softmax(query keys^T / sqrt(head_dim)) values and the denominator of the softmax (1706.03762, equation 1)."""
    weights = np.exp(keys @ query / np.sqrt(len(query)))
    return weights @ values / weights.sum(), weights.sum()


def transformer(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Vaswani et al. 2017, 1706.03762, equation 1."""
    out = empty(q, k, v)
    for b, i, h in real_queries(q, mask):
        out[b, i, h], _ = softmax(q[b, i, h], k[b, mask[b], h], v[b, mask[b], h])
    return out


def local(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray, radius: int) -> np.ndarray:
    """Beltagy et al. 2020, 2004.05150, section 3.1, "Sliding Window": radius tokens on each side."""
    out = empty(q, k, v)
    for b, i, h in real_queries(q, mask):
        window = [j for j in range(q.shape[1]) if mask[b, j] and -radius <= i - j <= radius]
        out[b, i, h], _ = softmax(q[b, i, h], k[b, window, h], v[b, window, h])
    return out


def dilated(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray, segment: int, ratio: int, max_length: int
) -> np.ndarray:
    """Ding et al. 2023, 2307.02486, sections 2.2 and 2.3: in segments of w tokens head h keeps the r-th ones from
    h mod r on; the scales are added with weights s_i / sum_n s_n, s_i the denominator of the softmax at scale i.
    """
    scales = [(segment, 1)]
    while scales[-1][0] < max_length:
        scales.append((scales[-1][0] * ratio, scales[-1][1] * ratio))
    out = empty(q, k, v)
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


def kernel_attention(of_query: Callable, of_key: Callable, q, k, v, mask, epsilon: float) -> np.ndarray:
    """sum_j sim(q_i, k_j) v_j / (sum_j sim(q_i, k_j) + epsilon), sim an inner product of features (2006.16236,
    equations 3 and 4); `of_query` and `of_key` give the features of token i of row b in head h.
    """
    out = empty(q, k, v)
    for b, i, h in real_queries(q, mask):
        query = of_query(b, i, h)
        similarities = [query @ of_key(b, j, h) for j in np.flatnonzero(mask[b])]
        out[b, i, h] = similarities @ v[b, mask[b], h] / (sum(similarities) + epsilon)
    return out


def linear(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray, epsilon: float = 1e-6) -> np.ndarray:
    """Katharopoulos et al. 2020, 2006.16236, equations 4 and 7: phi(x) = elu(x) + 1, no scaling of q and k."""

    def phi(x: np.ndarray) -> np.ndarray:
        return np.array([1 + a if a.real > 0 else np.exp(a) for a in x])

    return kernel_attention(lambda *i: phi(q[i]), lambda *j: phi(k[j]), q, k, v, mask, epsilon)


def performer(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: np.ndarray,
    projection: np.ndarray,
    epsilon: float = 0.0,
) -> np.ndarray:
    """Choromanski et al. 2021, 2009.14794: phi(x) = exp(w . x - |x|^2 / 2) / sqrt(m), one for each of m rows w
    (lemma 1), of q and k divided by head_dim^1/4 (section 2.1).

    The authors' code adds epsilon to the features, after it has divided them by a constant: of a query by its
    greatest, of keys by the greatest of all real keys of the head. With epsilon = 0 that changes nothing.
    """

    def feature(x: np.ndarray) -> np.ndarray:
        x = x / len(x) ** 0.25
        return np.exp(projection @ x - sum(x * x) / 2)

    def greatest_key(b: int, h: int) -> float:
        return max(feature(k[b, j, h]).real.max() for j in np.flatnonzero(mask[b]))

    if epsilon == 0:
        return kernel_attention(lambda *i: feature(q[i]), lambda *j: feature(k[j]), q, k, v, mask, 0.0)
    greatest = {(b, h): greatest_key(b, h) for b in np.flatnonzero(mask.any(1)) for h in range(q.shape[2])}
    of_query = lambda *i: feature(q[i]) / feature(q[i]).real.max() + epsilon
    of_key = lambda b, j, h: feature(k[b, j, h]) / greatest[b, h] + epsilon
    return kernel_attention(of_query, of_key, q, k, v, mask, 0.0)


def linformer(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray, e: np.ndarray, f: np.ndarray
) -> np.ndarray:
    """Wang et al. 2020, 2006.04768, equation 7: softmax(q (E k)^T / sqrt(head_dim)) F v over the real tokens."""
    out = empty(q, k, v, e, f)
    for b, i, h in real_queries(q, mask):
        keys = sum(np.outer(e[:, j], k[b, j, h]) for j in np.flatnonzero(mask[b]))
        values = sum(np.outer(f[:, j], v[b, j, h]) for j in np.flatnonzero(mask[b]))
        out[b, i, h], _ = softmax(q[b, i, h], keys, values)
    return out
