"""sinkhorn: a soft permutation of blocks."""

import numpy as np

from lra.models.oracles import Given, Heads, Mask


def oracle(q: Heads, k: Heads, v: Heads, mask: Mask, given: Given) -> Heads:
    """Tay et al. 2020, 2002.11296, section 3. Two layers with ReLU take the sum of a block's keys to logits. These are
    exponentiated, and rows and columns are normalised in turn, columns last. With this matrix the blocks are mixed. One
    softmax goes over the mixed block and the own block.

    Only blocks with a real token take part. A mixed key has the weight of the real tokens in it.
    """
    out = np.zeros_like(v)
    size, starts = given.options["block"], range(0, mask.shape[1], given.options["block"])
    for b in range(len(mask)):
        tokens = [[i for i in range(start, min(start + size, mask.shape[1])) if mask[b, i]] for start in starts]
        blocks = [n for n, real in enumerate(tokens) if real]
        for h in range(q.shape[2]):
            s = permutation([k[b, tokens[n], h].sum(0) for n in blocks], blocks, h, given)
            mixed = []  # for each block: key, value and weight at each place
            for row in range(len(blocks)):
                places: list[list[tuple[float, int]]] = [[] for _ in range(size)]
                for column, n in enumerate(blocks):
                    for i in tokens[n]:
                        places[i % size].append((s[row, column], i))
                mixed.append(
                    [
                        (
                            sum(p * k[b, i, h] for p, i in place),
                            sum(p * v[b, i, h] for p, i in place),
                            sum(p for p, _ in place) / s[row].sum(),
                        )
                        for place in places
                        if place
                    ]
                )
            for row, n in enumerate(blocks):
                for i in tokens[n]:
                    seen = mixed[row] + [(k[b, j, h], v[b, j, h], 1.0) for j in tokens[n]]
                    weight = [w * np.exp(key @ q[b, i, h] / np.sqrt(len(key))) for key, _, w in seen]
                    out[b, i, h] = sum(w * value for w, (_, value, _) in zip(weight, seen)) / sum(weight)
    return out


def permutation(sums: list[np.ndarray], blocks: list[int], h: int, given: Given) -> np.ndarray:
    """The balanced matrix of the real blocks."""
    weights, matrix = given.weights, np.zeros((len(blocks), len(blocks)))
    for row, x in enumerate(sums):
        hidden = np.maximum(x @ weights["hidden"][h] + weights["hidden_bias"][h], 0)
        logits = np.maximum(hidden @ weights["sort"][h] + weights["sort_bias"][h], 0)
        matrix[row] = np.exp(logits[blocks] / given.options["temperature"])
    for _ in range(given.options["iterations"]):
        matrix = matrix / matrix.sum(1, keepdims=True)
        matrix = matrix / matrix.sum(0, keepdims=True)
    return matrix
