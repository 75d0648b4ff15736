"""fnet: the discrete Fourier transform by its definition."""

import numpy as np

from lra.models.oracles import Given, Mask, Tokens


def oracle(x: Tokens, mask: Mask, given: Given) -> Tokens:
    """Lee-Thorp et al. 2021, 2105.03824, sections 3.1 and 3.2, the transforms made unitary: the real part of
    sum_n sum_c x[n, c] exp(-2 pi i (n k / N + c m / dim)) / sqrt(N dim), N the longest sequence's length.
    """
    out = np.zeros_like(x)
    longest, dim = given.sizes["max_length"], x.shape[2]
    channels = np.arange(dim)
    for b, k in np.argwhere(mask):
        for n in np.flatnonzero(mask[b]):
            for c in range(dim):
                out[b, k] += x[b, n, c] * np.cos(2 * np.pi * (n * k / longest + c * channels / dim))
    return out / np.sqrt(longest * dim)
