"""bigbird: softmax over the blocks that a block sees."""

import numpy as np

from lra.models.oracles import Given, Heads, Mask, real_queries, softmax


def oracle(q: Heads, k: Heads, v: Heads, mask: Mask, given: Given) -> Heads:
    """Zaheer et al. 2020, 2007.14062, section 2 and appendix D: global, window and random attention of blocks.

    The random blocks are a sample of the blocks not seen otherwise. Floyd's algorithm F2 draws it, from a table of
    random numbers.
    """
    size, random, heads = given.options["block"], given.options["random"], q.shape[2]
    numbers = np.random.PCG64((given.options["seed"], given.sizes["layer"]))
    table: dict[tuple[int, int, int], int] = {}
    for place in np.ndindex(-(-q.shape[1] // size), heads, random):
        table[place] = int(numbers.random_raw()) >> 33

    def sees(block: int, last: int, h: int) -> set[int]:
        if block in (0, last):
            return set(range(last + 1))
        seen = {0, last, block - 1, block, block + 1}
        left = [other for other in range(last + 1) if other not in seen]
        sample: set[int] = set()
        for k in range(random):
            top = len(left) - random + k
            if top >= 0:
                drawn = left[table[block, h, k] % (top + 1)]
                sample.add(left[top] if drawn in sample else drawn)
        return seen | sample

    out = np.zeros_like(v)
    for b, i, h in real_queries(q, mask):
        blocks = sees(i // size, np.flatnonzero(mask[b])[-1] // size, h)
        keys = [j for j in np.flatnonzero(mask[b]) if j // size in blocks]
        out[b, i, h], _ = softmax(q[b, i, h], k[b, keys, h], v[b, keys, h])
    return out
