"""kda: the delta rule with a decay for each channel, token by token."""

import numpy as np

from lra.models.oracles import Given, Mask, Tokens
from lra.models.oracles.delta import layer, sigmoid


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Kimi Team 2025, 2510.26692, equation 1."""
    w, width = given.weights, given.sizes["qkv_dim"]
    size = width // given.sizes["heads"]

    def decay(token: np.ndarray, way: int, head: int) -> np.ndarray:
        start = way * width + head * size
        columns = w["decay.project.layers.1.kernel"][:, start : start + size]
        dt = token @ w["decay.project.layers.0.kernel"] @ columns + w["decay.dt_bias"][way, head]
        return np.exp(-np.exp(w["decay.log_a"][way, head]) * np.log1p(np.exp(dt)))

    gate = sigmoid(x @ w["gate.layers.0.kernel"] @ w["gate.layers.1.kernel"])
    return (layer(x, mask, given, decay) * gate) @ w["out.kernel"]
