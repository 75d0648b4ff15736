"""What the papers say the variants compute, token by token in float64 NumPy. The oracles are slow and dense, and share
no code with the variants.

Each variant has a file here with a function `oracle`. For a variant on heads it takes `(q, k, v, mask, given)`, and its
output is compared with what the variant computes between its projections. For a whole mixer it takes `(x, mask,
given)`. q, k and v are `[batch, length, heads, head_dim]`; x is `[batch, length, dim]`; mask is `[batch, length]`, True
for a real token; all real numbers are float64. The outputs of padded tokens are left 0 and mean nothing.

An oracle is written from the paper's formulas, not from the code. It follows them as printed, without the maxima that
implementations subtract, and with a loop where the paper has an index.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

Heads = Float[np.ndarray, "batch length heads head_dim"]
Tokens = Float[np.ndarray, "batch length dim"]
Mask = Bool[np.ndarray, "batch length"]


@dataclasses.dataclass(frozen=True)
class Given:
    """What a variant was built with.

    Attributes:
      weights: the variant's parameters and buffers by their path, e.g. "e" or "gate.kernel". Those of the projections
        that a variant on heads gets from us are left out. A mixer that hands something on has those of all layers up to
        the one that is asked for, with the layer in front: "0.gate.kernel".
      options: the variant's keyword arguments, defaults included.
      sizes: `dim`, `qkv_dim`, `heads`, `max_length`, `layer` and `layers`.
    """

    weights: Mapping[str, np.ndarray]
    options: Mapping[str, Any]
    sizes: Mapping[str, int]


def real_queries(q: Heads, mask: Mask) -> Iterator[tuple[int, int, int]]:
    """Batch row, position and head of each real token."""
    return ((b, i, h) for b, i in np.argwhere(mask) for h in range(q.shape[2]))


def softmax(query: np.ndarray, keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """softmax(query keys^T / sqrt(head_dim)) values, and the denominator of the softmax (1706.03762, equation 1)."""
    weights = np.exp(keys @ query / np.sqrt(len(query)))
    return weights @ values / weights.sum(), weights.sum()


def kernel_attention(
    of_query: Callable, of_key: Callable, q: Heads, k: Heads, v: Heads, mask: Mask, epsilon: float
) -> Heads:
    """sum_j sim(q_i, k_j) v_j / (sum_j sim(q_i, k_j) + epsilon), sim an inner product of features (2006.16236,
    equations 3 and 4). `of_query` and `of_key` give the features of token i of row b in head h.
    """
    out = np.zeros_like(v)
    for b, i, h in real_queries(q, mask):
        query = of_query(b, i, h)
        similarities = [query @ of_key(b, j, h) for j in np.flatnonzero(mask[b])]
        out[b, i, h] = similarities @ v[b, mask[b], h] / (sum(similarities) + epsilon)
    return out
