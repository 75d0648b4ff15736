"""gated_deltanet: the delta rule with decay, token by token."""

import numpy as np

from lra.models.oracles import Given, Mask, Tokens
from lra.models.oracles.delta import layer, silu


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Yang et al. 2024, 2412.06464, equation 10; the decay is Mamba-2's."""
    w = given.weights

    def decay(token: np.ndarray, way: int, head: int) -> np.ndarray:
        dt = token @ w["decay.project.kernel"][:, way * given.sizes["heads"] + head] + w["decay.dt_bias"][way, head]
        return np.exp(-np.exp(w["decay.log_a"][way, head]) * np.log1p(np.exp(dt)))

    return (layer(x, mask, given, decay) * silu(x @ w["gate.kernel"])) @ w["out.kernel"]
