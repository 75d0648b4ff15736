"""synthesizer: logits that do not come from pairs of tokens."""

import math

import numpy as np

from lra.models.oracles import Given, Mask, Tokens


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Tay et al. 2021, 2005.00743: softmax(B) G(x), with B of section 3.1 (dense), 3.2 (random) or 3.3 (factorized), or
    with a weighted sum of B and the logits of attention (3.4). The softmax is over the real tokens.
    """
    weights, heads, kind = given.weights, given.sizes["heads"], given.options["kind"]
    split = lambda y: y.reshape(*y.shape[:2], heads, -1)
    v = split(x @ weights["v.kernel"])
    out = np.zeros_like(v)

    def hidden(b: int, i: int, h: int) -> np.ndarray:
        of_all_heads = np.maximum(x[b, i] @ weights["hidden.kernel"] + weights["hidden.bias"], 0)
        return of_all_heads.reshape(heads, -1)[h] @ weights["dense"][h] + weights["dense_bias"][h]

    def logits(b: int, i: int, h: int) -> np.ndarray:
        if kind == "random":
            return weights["random"][h, i, : x.shape[1]]
        if kind == "factorized_random":
            return np.array([weights["random"][h, i] @ weights["random2"][h, j] for j in range(x.shape[1])])
        numbers = hidden(b, i, h)
        if kind == "dense":
            return numbers[: x.shape[1]]
        rows = math.ceil(math.sqrt(given.sizes["max_length"]))
        a, c = numbers[:rows], numbers[rows:]
        repeated, tiled = [each for each in a for _ in c], [each for _ in a for each in c]
        return (np.array(repeated) * np.array(tiled))[: x.shape[1]]

    if given.options["dot_product"]:
        q, k = split(x @ weights["q.kernel"]), split(x @ weights["k.kernel"])
        alpha = 1 / (1 + np.exp(-weights["mixture"]))
    for b, i in np.argwhere(mask):
        for h in range(heads):
            of_i = logits(b, i, h)
            if given.options["dot_product"]:
                of_i = alpha * of_i + (1 - alpha) * k[b, :, h] @ q[b, i, h] / np.sqrt(q.shape[-1])
            weight = np.exp(of_i) * mask[b]
            out[b, i, h] = weight @ v[b, :, h] / weight.sum()
    return out.reshape(*x.shape[:2], -1) @ weights["out.kernel"]
