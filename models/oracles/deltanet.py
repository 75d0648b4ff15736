"""deltanet: the delta rule, token by token."""

from lra.models.oracles import Given, Mask, Tokens
from lra.models.oracles.delta import layer


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Yang et al. 2024, 2406.06484, equation 5 and section 3.3."""
    return layer(x, mask, given) @ given.weights["out.kernel"]
