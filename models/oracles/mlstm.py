"""mlstm: memory and normaliser, token by token."""

import numpy as np

from lra.models.oracles import Given, Mask, Tokens


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Beck et al. 2024, 2405.04517, equations 19 to 26, from the left and from the right, summed, in the block of
    figure 11. The tokens are the real ones alone.
    """
    w, heads = given.weights, given.sizes["heads"]
    out = np.zeros_like(x)
    for row, real in enumerate(mask):
        u, z = np.split(x[row, real] @ w["into.kernel"], 2, -1)
        h, skipped = np.zeros((len(u), heads, u.shape[1] // heads)), np.zeros_like(u)
        for way in (0, 1):
            order = np.arange(len(u))[:: 1 - 2 * way]
            memory = np.zeros((heads, h.shape[2], h.shape[2]))
            normaliser = np.zeros((heads, h.shape[2]))
            for place, t in enumerate(order):
                taps = zip(w["conv"][::-1, way], order[place::-1])
                a = silu(sum((tap * u[s] for tap, s in taps), w["conv_bias"][way]))
                skipped[t] += w["skip"] * a
                q, k, v = (
                    np.concatenate([part @ m for part, m in zip(y.reshape(-1, 4), maps)])
                    for y, maps in zip((a, a, u[t]), w["maps"])
                )
                gates = np.einsum("c,cgh->gh", np.concatenate([q, k, v]), w["gates"][way]) + w["gate_bias"][way]
                q, k, v = (y.reshape(heads, -1) for y in (q, k, v))
                k = k / np.sqrt(k.shape[1])
                i, f = np.exp(gates[0]), 1 / (1 + np.exp(-gates[1]))
                for n in range(heads):
                    memory[n] = f[n] * memory[n] + i[n] * np.outer(v[n], k[n])
                    normaliser[n] = f[n] * normaliser[n] + i[n] * k[n]
                    h[t, n] += memory[n] @ q[n] / max(abs(normaliser[n] @ q[n]), 1)
        h = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-5)
        out[row, real] = ((h.reshape(u.shape) * w["gain"] + skipped) * silu(z)) @ w["out.kernel"]
    return out
