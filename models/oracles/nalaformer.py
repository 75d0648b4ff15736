"""nalaformer: sums over pairs of tokens with norm-aware features."""

import numpy as np

from lra.models.oracles import Given, Mask, Tokens


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Meng et al. 2026, 2506.21137, in the form of the authors' module, for one position instead of rows and columns:
    features phi(q) = [relu(q/|q|)^p, relu(-q/|q|)^p] with p = 3 (1/2 + tanh |q|) and phi(k) = [relu(k^3), relu(-k^3)],
    rotated in the numerator only; then LayerNorm(attention + depthwise convolution of v) * swish(x W_g), and W_o.
    """
    w, heads = given.weights, given.sizes["heads"]
    q, k, v, gate = (x @ w[f"{name}.kernel"] for name in ("q", "k", "v", "gate"))
    split = lambda y: y.reshape(*x.shape[:2], heads, -1)
    q, k, values = split(q), split(k), split(v)
    pairs = q.shape[-1] // 2
    theta = 10_000.0 ** -(np.arange(pairs) / max(pairs - 1, 1))
    signs = lambda y: [np.maximum(y, 0), np.maximum(-y, 0)]
    complex_ = lambda half, position: (half[0::2] + 1j * half[1::2]) * np.exp(1j * position * theta)
    out = np.zeros_like(x)
    for b, t in np.argwhere(mask):
        real = np.flatnonzero(mask[b])
        attended = np.zeros_like(values[b, t])
        for h in range(heads):
            norm = np.linalg.norm(q[b, t, h])
            if norm == 0:
                continue
            of_query = [half ** (3 * (0.5 + np.tanh(norm))) for half in signs(q[b, t, h] / norm)]
            below = 1e-6
            for s in real:
                of_key = signs(k[b, s, h] ** 3)
                weight = sum((complex_(a, t) @ np.conj(complex_(c, s))).real for a, c in zip(of_query, of_key))
                attended[h] += weight * values[b, s, h] / len(real)
                below += sum(a @ c for a, c in zip(of_query, of_key)) / len(real)
            attended[h] /= below
        y = attended.reshape(-1)
        for tap, weights in enumerate(w["conv"]):
            if (there := t + tap - len(w["conv"]) // 2) in real:
                y = y + weights * v[b, there]
        y = (y - y.mean()) / np.sqrt(y.var() + 1e-5) * w["norm.scale"] + w["norm.bias"]
        out[b, t] = (y * gate[b, t] / (1 + np.exp(-gate[b, t]))) @ w["out.kernel"]
    return out
