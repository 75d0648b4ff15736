"""What the oracles of the delta rule share: the layer token by token, with decay or without."""

from collections.abc import Callable

import numpy as np

from lra.models.oracles import Given, Mask, Tokens

sigmoid = lambda x: 1 / (1 + np.exp(-x))
silu = lambda x: x * sigmoid(x)


def layer(x: Tokens, mask: Mask, given: Given, decay: Callable = lambda x, way, head: 1.0, steps: int = 1) -> Tokens:
    """y of each head after RMSNorm, both ways summed: for each token S <- diag(decay) S, then for each of its steps S
    <- S + beta k (v - S^T k)^T, then y = S^T q / sqrt(head_dim). `decay` gets the token, the way and the head.
    """
    w, heads = given.weights, given.sizes["heads"]
    width = given.sizes["qkv_dim"]
    size = width // heads
    inner, y = x @ w["into.kernel"], np.zeros((*x.shape[:2], heads, size))
    betas = (1 + given.options["negative"]) * sigmoid(x @ w["beta.kernel"]).reshape(*x.shape[:2], 2, steps, heads)
    unit = lambda a: a / np.sqrt((a**2).sum() + 1e-6)
    for b in range(len(x)):
        for way, turn in enumerate((1, -1)):
            states = np.zeros((heads, size, size))
            for t in np.flatnonzero(mask[b])[::turn]:
                near = [(s, t - turn * s) for s in range(len(w["conv"]))]
                taps = [w["conv"][-1 - s, way] * inner[b, p] for s, p in near if 0 <= p < len(mask[b]) and mask[b, p]]
                q, k, v = np.split(silu(sum(taps)), [width, (1 + steps) * width])
                k, v = (a.reshape(steps, heads, size) for a in (k, v))
                for h, state in enumerate(states):
                    state *= np.reshape(decay(x[b, t], way, h), (-1, 1))
                    for n in range(steps):
                        key = unit(k[n, h])
                        state += betas[b, t, way, n, h] * np.outer(key, v[n, h] - key @ state)
                    y[b, t, h] += unit(q.reshape(heads, size)[h]) / np.sqrt(size) @ state
    y = y / np.sqrt((y**2).mean(-1, keepdims=True) + 1e-5) * w["norm.scale"]
    return y.reshape(*x.shape[:2], -1)
