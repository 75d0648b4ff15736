"""deltaproduct: several steps of the delta rule for each token."""

from lra.models.oracles import Given, Mask, Tokens
from lra.models.oracles.delta import layer


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Siems et al. 2025, 2502.10297, equation 4."""
    return layer(x, mask, given, steps=given.options["steps"]) @ given.weights["out.kernel"]
