"""s5: a diagonal state space model, a step at a time."""

import numpy as np

from lra.models.oracles import Given, Mask, Tokens


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Smith et al. 2023, 2208.04933: x_k = A x_{k-1} + B u_k and y_k = C x_k + D u_k with A = exp(Lambda Delta) and B =
    Lambda^-1 (A - 1) B~, over the real tokens forward and backward, each with its own C. One of each conjugate pair is
    kept, so that C x is 2 Re(C x). Then GELU(y) * sigmoid(W GELU(y)), or y * sigmoid(W GELU(y)) as "half_glu2" of the
    authors' code, with its bias and its GELU, which is approximated by tanh.
    """
    w = given.weights
    eigenvalues, b, c = (w[name][0] + 1j * w[name][1] for name in ("eigenvalues", "b", "c"))
    if given.options["clip"]:
        eigenvalues = np.minimum(eigenvalues.real, -1e-4) + 1j * eigenvalues.imag
    a = np.exp(eigenvalues * np.exp(w["log_step"]))
    b = ((a - 1) / eigenvalues)[:, None] * b
    out = np.zeros_like(x)
    for row, real in enumerate(mask):
        y = {k: w["d"] * x[row, k] for k in np.flatnonzero(real)}
        for c_way, order in ((c[0], list(y)), (c[1], list(y)[::-1])):
            state = np.zeros(len(a), complex)
            for k in order:
                state = a * state + b @ x[row, k]
                y[k] = y[k] + 2 * (c_way @ state).real
        for k in y:
            g = y[k] / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (y[k] + 0.044715 * y[k] ** 3)))
            gated = g if given.options["activation"] == "half_glu1" else y[k]
            out[row, k] = gated / (1 + np.exp(-(g @ w["gate.kernel"] + w["gate.bias"])))
    return out
