"""lamamba: a state space in the even layers, windows in the odd ones."""

import dataclasses

from lra.models.oracles import Given, Mask, Tokens, local, mamba


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Fu et al. 2024, 2408.02615: Mamba (2312.00752), here in both directions, and softmax attention in windows, which
    here slide, each in a layer of its own.
    """
    w = {name.removeprefix("mixer."): value for name, value in given.weights.items()}
    if given.sizes["layer"] % 2 == 0:
        return mamba.oracle(x, mask, dataclasses.replace(given, weights=w))
    q, k, v = ((x @ w[f"{name}.kernel"]).reshape(*x.shape[:2], given.sizes["heads"], -1) for name in "qkv")
    return local.oracle(q, k, v, mask, given).reshape(*x.shape[:2], -1) @ w["out.kernel"]
