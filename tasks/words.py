"""Random integers that are the same on every computer and in every release of NumPy."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Words:
    """Random integers from the raw words of Philox. NumPy never changes these, unlike the methods of `Generator`."""

    def __init__(self, seed: int, index: int):
        self.philox = np.random.Philox(key=seed, counter=[0, 0, index, 0])

    def below(self, bounds: ArrayLike, shape: int | tuple[int, ...] | None = None) -> NDArray[np.int64]:
        """Integers from 0 to below the bounds (under 2**32): one for each bound, or a `shape` of them."""
        bounds = np.asarray(bounds, np.uint64)
        high = self.philox.random_raw(bounds.shape if shape is None else shape) >> np.uint64(32)
        return (high * bounds >> np.uint64(32)).astype(np.int64)

    def permutations(self, count: int, size: int) -> NDArray[np.int64]:
        """Permutations of 0 to `size` - 1: an array [count, size]."""
        return np.argsort(self.philox.random_raw((count, size)), axis=1, kind="stable")
