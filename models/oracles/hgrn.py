"""hgrn: the recurrence, token by token."""

import numpy as np

from lra.models.oracles import Given, Mask, Tokens


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Qin et al. 2023, 2311.04823, section 3: h_t = lambda_t exp(i theta) h_{t-1} + (1 - lambda_t) c_t, over the real
    tokens from the left and from the right, each with its own theta, summed. lambda_t = gamma + (1 - gamma) mu_t, where
    gamma is the sum over the layers below of the softmax of Gamma over the layers. Gamma belongs to the first layer.
    """
    layer, layers = given.sizes["layer"], given.sizes["layers"]
    w = {name.removeprefix(f"{layer}."): value for name, value in given.weights.items() if name.startswith(f"{layer}.")}
    gamma = 0.0
    if layers > 1:
        shares = np.exp(given.weights["0.gamma"])
        gamma = shares[:layer].sum(0) / shares.sum(0)
    sigmoid = lambda y: 1 / (1 + np.exp(-y))
    silu = lambda y: y * sigmoid(y)
    factor = gamma + (1 - gamma) * sigmoid(x @ w["forget.kernel"])
    c = silu(x @ w["input.kernel"])
    width = factor.shape[-1]
    c = c[..., :width] + 1j * c[..., width:]
    h = np.zeros_like(c)
    for b in range(len(x)):
        real = np.flatnonzero(mask[b])
        for way, theta in zip((real, real[::-1]), w["theta"]):
            state = np.zeros(width, complex)
            for t in way:
                state = factor[b, t] * np.exp(1j * theta) * state + (1 - factor[b, t]) * c[b, t]
                h[b, t] += state
    y = np.concatenate([h.real, h.imag], -1)
    y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5)
    y = (y * w["norm.scale"] + w["norm.bias"]) * silu(x @ w["gate.kernel"])
    return y @ w["out.kernel"]
