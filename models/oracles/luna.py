"""luna: a softmax to the sequence and one back from it, with a P that goes from layer to layer."""

import numpy as np

from lra.models.oracles import Given, Mask, Tokens, softmax


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Ma et al. 2021, 2106.01540, section 3. In each layer Y_P = Attn(P, X, X) over the real tokens and Y_X = Attn(X,
    Y_P, Y_P), with one projection for keys and values. The P of the next layer is LN(Y_P + P). Here all layers have the
    same X.
    """
    heads, layer, w = given.sizes["heads"], given.sizes["layer"], given.weights
    out = np.zeros_like(x)

    def attend(query: np.ndarray, keys: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [softmax(*part)[0] for part in zip(*(np.split(a, heads, -1) for a in (query, keys, keys)))]
        )

    for b in np.flatnonzero(mask.any(1)):
        tokens, p = x[b, mask[b]], w["0.p"]
        for n in range(layer + 1):
            kernel = lambda name, n=n: w[f"{n}.{name}.kernel"]
            context = tokens @ kernel("pack_context")
            y_p = np.stack([attend(query, context) for query in p @ kernel("pack_query")])
            context = y_p @ kernel("context")
            out[b, mask[b]] = np.stack([attend(query, context) for query in tokens @ kernel("query")]) @ kernel("out")
            if n < layer:
                p = y_p + p
                centred = p - p.mean(1, keepdims=True)
                p = centred / np.sqrt(np.mean(centred**2, 1, keepdims=True) + 1e-6)
                p = p * w[f"{n}.norm.scale"] + w[f"{n}.norm.bias"]
    return out
