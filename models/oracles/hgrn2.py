"""hgrn2: the recurrence, token by token."""

import numpy as np

from lra.models.oracles import Given, Mask, Tokens


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Qin et al. 2024, 2404.07904: S_t = diag(f_t) S_{t-1} + (1 - f_t) i_t^T, y_t = S_t^T o_t, over the real tokens
    from the left and from the right, summed. The lower bound of the forget gate is HGRN's (2311.04823): the softmax of
    Gamma over the layers, summed over the layers below. Gamma belongs to the first layer.
    """
    heads, layer, layers = (given.sizes[name] for name in ("heads", "layer", "layers"))
    w = {name.removeprefix(f"{layer}."): value for name, value in given.weights.items() if name.startswith(f"{layer}.")}
    bound = 0.0
    if layers > 1:
        shares = np.exp(given.weights["0.gamma"])
        bound = shares[:layer].sum(0) / shares.sum(0)
    sigmoid = lambda y: 1 / (1 + np.exp(-y))
    f = bound + (1 - bound) * sigmoid(x @ w["forget.kernel"])
    i = x @ w["input.kernel"]
    i, o = i * sigmoid(i), sigmoid(x @ w["output.kernel"])
    f, i, o = (y.reshape(*x.shape[:2], heads, -1) for y in (f, i, o))
    y = np.zeros_like(i)
    for b in range(len(x)):
        real = np.flatnonzero(mask[b])
        for way in (real, real[::-1]):
            for h in range(heads):
                state = np.zeros((f.shape[-1], f.shape[-1]))
                for t in way:
                    state = np.diag(f[b, t, h]) @ state + np.outer(1 - f[b, t, h], i[b, t, h])
                    y[b, t, h] += state.T @ o[b, t, h]
    y = y.reshape(*x.shape[:2], -1)
    y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5)
    return (y * w["norm.scale"] + w["norm.bias"]) @ w["out.kernel"]
