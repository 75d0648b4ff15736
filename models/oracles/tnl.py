"""tnl: a sum over pairs of tokens."""

import numpy as np

from lra.models.oracles import Given, Mask, Tokens


def slope(head: int, heads: int) -> float:
    """ALiBi's slope 2^(-8 h / H). If the number of heads is no power of two, it comes from the powers of two
    around it.
    """
    power = 2 ** int(np.log2(heads))
    if head < power:
        return 2.0 ** (-8 * (head + 1) / power)
    return slope(2 * (head - power), 2 * power)


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Qin et al. 2023, 2307.14995: O = SRMSNorm(A V) * U, where A has the real parts of a_ts = q_t . k_s lambda^|t-s|
    exp(i theta (t-s)). Only the first layer has theta. lambda = exp(-slope (1 - l / (L - 1) + 10^-5)) as in the
    authors' code.
    """
    sizes, w = given.sizes, given.weights
    heads, layer, layers = sizes["heads"], sizes["layer"], sizes["layers"]
    progress = layer / (layers - 1) if layers > 1 else 0
    q, k, v, u = (x @ w[f"{name}.kernel"] for name in ("q", "k", "v", "gate"))
    q, k = (y / (1 + np.exp(-y)) for y in (q, k))
    q, k, v = (y.reshape(*x.shape[:2], heads, -1) for y in (q, k, v))
    theta = w["theta"] if layer == 0 else np.zeros(q.shape[2:])
    y = np.zeros_like(v)
    for b, t in np.argwhere(mask):
        for h in range(heads):
            decay = np.exp(-slope(h, heads) * (1 - progress + 1e-5))
            for s in np.flatnonzero(mask[b]):
                a = (q[b, t, h] * k[b, s, h] * np.exp(1j * theta[h] * (t - s))).sum().real
                y[b, t, h] += a * decay ** abs(t - s) * v[b, s, h]
    y = y.reshape(u.shape)
    y = y / np.sqrt((y**2).mean(-1, keepdims=True) + 1e-6)
    return (y * u) @ w["out.kernel"]
