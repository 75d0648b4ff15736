"""sparse_transformer: softmax over the union of two sets."""

import numpy as np

from lra.models.oracles import Given, Heads, Mask, real_queries, softmax


def oracle(q: Heads, k: Heads, v: Heads, mask: Mask, given: Given) -> Heads:
    """Child et al. 2019, 1904.10509, sections 4.2 and 4.3: the sets A1 and A2 without "j <= i". As in section 5.2,
    heads differ in the columns of "fixed".
    """
    stride, c = given.options["stride"], given.options["summary"]
    if stride is None:
        stride = int(np.ceil(np.sqrt(given.sizes["max_length"])))
    c = min(c, stride)

    def sees(i: int, j: int, h: int) -> bool:
        if given.options["pattern"] == "strided":
            return -stride < i - j < stride or (i - j) % stride == 0
        end = stride - c * (h % (stride // c))
        return i // stride == j // stride or end - c <= j % stride < end

    out = np.zeros_like(v)
    for b, i, h in real_queries(q, mask):
        keys = [j for j in range(q.shape[1]) if mask[b, j] and sees(i, j, h)]
        out[b, i, h], _ = softmax(q[b, i, h], k[b, keys, h], v[b, keys, h])
    return out
