"""mamba3: the recurrence, token by token."""

import numpy as np

from lra.models.oracles import Given, Mask, Tokens


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Lahoti et al. 2026, 2603.15569: h_t = alpha_t h_{t-1} + beta_t B_{t-1} x_{t-1}^T + gamma_t B_t x_t^T, y_t = h_t^T
    C_t + D x_t, with alpha = exp(dt A), beta = (1 - lambda) dt alpha and gamma = lambda dt. B and C are rotated by the
    sum of the angles so far. A pass from the left and one from the right over the real tokens are summed.
    """
    w, heads, n = given.weights, given.sizes["heads"], given.options["state"]
    width = given.options["expand"] * given.sizes["qkv_dim"]
    out = np.zeros_like(x)
    for row, real in enumerate(mask):
        cuts = np.cumsum([width, width, n, n, 3 * heads + n // 4])
        z, values, *of_tokens, left, right = np.split(x[row, real] @ w["into.kernel"], cuts, -1)
        b_all, c_all = (
            y / np.sqrt((y**2).mean(-1, keepdims=True) + 1e-5) * w[f"norm_{name}.scale"]
            for y, name in zip(of_tokens, "bc")
        )
        y = np.zeros_like(values)
        for way, own in enumerate((left, right)):
            for h in range(heads):
                part = slice(h * width // heads, (h + 1) * width // heads)
                (state, last), angle = np.zeros((2, n, part.stop - part.start)), np.zeros(n // 4)
                for t in np.arange(len(z))[:: 1 - 2 * way]:
                    dt = np.log1p(np.exp(own[t, h] + w["dt_bias"][way, h]))
                    raw, lam = own[t, heads + h], sigmoid(own[t, 2 * heads + h])
                    a = -max(1 + raw if raw >= 0 else 1 / (1 - raw), 1e-4)
                    angle = angle + dt * np.pi * np.tanh(own[t, 3 * heads :])
                    b, c = b_all[t] + w["b_bias"][way, h], c_all[t] + w["c_bias"][way, h]
                    b, c = turn(b, angle), turn(c, angle)
                    entering = np.outer(b, values[t, part])
                    state = np.exp(dt * a) * (state + (1 - lam) * dt * last) + lam * dt * entering
                    last = entering
                    y[t, part] += state.T @ c + w["skip"][way, h] * values[t, part]
        out[row, real] = (y * z * sigmoid(z)) @ w["out.kernel"]
    return out


def turn(x: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Rotates the pairs (0, 1), (2, 3), ... by the angles, as far as there are any."""
    x = x.copy()
    for c, phi in enumerate(angle):
        rotation = np.array([[np.cos(phi), -np.sin(phi)], [np.sin(phi), np.cos(phi)]])
        x[2 * c : 2 * c + 2] = rotation @ x[2 * c : 2 * c + 2]
    return x
