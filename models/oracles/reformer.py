"""reformer: attention among tokens that hashing brings together."""

import math

import numpy as np

from lra.models.oracles import Given, Mask, Tokens


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Kitaev et al. 2020, 2001.04451: equation 3 over the union of equation 5's sets of all rounds (equation 6). A pair
    counts once (appendix A), and a token is in its own set only if the set is otherwise empty. Keys are k = q / |q|.

    As in the authors' code, |q| has 1e-6 added to the mean square of q.
    """
    weights, options, heads = given.weights, given.options, given.sizes["heads"]
    split = lambda name: (x @ weights[name]).reshape(*x.shape[:2], heads, -1)
    qk, v, rotations = split("qk.kernel"), split("v.kernel"), weights["rotations"]
    buckets = options["buckets"] or 2 * math.ceil(given.sizes["max_length"] / options["chunk"])
    two = 2 * math.ceil(buckets**0.5 / 2)
    sizes = [buckets] if buckets <= 128 else [two, 2 * math.ceil(buckets / two / 2)]

    def hashes(query: np.ndarray, h: int, r: int) -> tuple[int, ...]:
        parts = np.split(query @ rotations[h, :, r], [sizes[0] // 2])[: len(sizes)]
        return tuple(int(np.argmax(np.concatenate([part, -part]))) for part in parts)

    def chunk_of(b: int, h: int, r: int) -> dict[int, int]:
        real = np.flatnonzero(mask[b]).tolist()
        ranked = sorted(real, key=lambda i: (hashes(qk[b, i, h], h, r), i))
        return {i: rank // options["chunk"] for rank, i in enumerate(ranked)}

    out = np.zeros_like(v)
    for b in range(len(x)):
        for h in range(heads):
            at = {(i, r): chunk for r in range(rotations.shape[2]) for i, chunk in chunk_of(b, h, r).items()}
            for i in np.flatnonzero(mask[b]).tolist():
                met = {j for j, r in at if -options["before"] <= at[j, r] - at[i, r] <= options["after"]}
                others = sorted(met - {i}) or [i]
                keys = qk[b, others, h]
                norms = np.sqrt((keys**2).sum(1) + 1e-6 * keys.shape[1])
                weight = np.exp(keys @ qk[b, i, h] / norms)
                out[b, i, h] = weight @ v[b, others, h] / weight.sum()
    return out.reshape(*x.shape[:2], -1) @ weights["out.kernel"]
