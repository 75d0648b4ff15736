"""lightconv: a depthwise convolution with a normalised kernel for each head, token by token."""

import numpy as np

from lra.models.oracles import Given, Mask, Tokens


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Wu et al. 2019, 1901.10430: GLU (section 3), LightConv_{i,c} = sum_j softmax(w_{h(c)})_j x_{i + j - (K-1)/2, c}
    (equation 5, counted from 0), and kernels that are a linear function of the current token (equation 7). Channel c
    has the kernel of head c H / d.
    """
    w, kernel, heads = given.weights, given.options["kernel"], given.sizes["heads"]
    width = given.sizes["qkv_dim"]
    out = np.zeros_like(x)
    for row, real in enumerate(mask):
        u = {}
        for t in np.flatnonzero(real):
            a, b = np.split(x[row, t] @ w["into.kernel"], 2)
            u[t] = a / (1 + np.exp(-b))
        for t in u:
            of_heads = (u[t] @ w["weights.kernel"]).reshape(heads, kernel) if given.options["dynamic"] else w["weights"]
            y = np.zeros(width)
            for c in range(width):
                taps = np.exp(of_heads[c * heads // width])
                taps = taps / taps.sum()
                for j in range(kernel):
                    if (there := t + j - (kernel - 1) // 2) in u:
                        y[c] += taps[j] * u[there][c]
            out[row, t] = y @ w["out.kernel"]
    return out
