"""Dropout of attention probabilities by a hash of their positions: no mask is kept, and all kernels drop the
same ones.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key

_part: ContextVar[tuple[Int[Array, ""] | int, int]] = ContextVar("part", default=(0, 1))


@contextmanager
def part_of_batch(index: Int[Array, ""] | int, count: int) -> Iterator[None]:
    """All that is traced inside computes one of `count` equal parts of a batch. It drops what the whole batch would."""
    token = _part.set((index, count))
    try:
        yield
    finally:
        _part.reset(token)


class Dropout(NamedTuple):
    """Drops each probability with this rate, independently of the others. A key of None turns dropout off."""

    rate: float = 0.0
    key: Key[Array, ""] | None = None

    def fold_in(self, index: Array | int) -> "Dropout":
        """An independent dropout for part `index` of the probabilities."""
        return self if self.key is None else Dropout(self.rate, jax.random.fold_in(self.key, index))

    def seeds(self, *matrices: int) -> Int[Array, "*matrices"] | None:
        """A seed for each matrix of probabilities, the examples being the first axis; None if nothing is dropped."""
        if self.key is None or self.rate == 0.0:
            return None
        index, count = _part.get()
        if count == 1 or not matrices:
            return lax.bitcast_convert_type(jax.random.bits(self.key, matrices, jnp.uint32), jnp.int32)
        bits = jax.random.bits(self.key, (count * matrices[0], *matrices[1:]), jnp.uint32)
        own = lax.dynamic_slice_in_dim(bits, index * matrices[0], matrices[0])
        return lax.bitcast_convert_type(own, jnp.int32)

    def __call__(self, weights: Float[Array, "*matrices rows columns"]) -> Float[Array, "*matrices rows columns"]:
        seeds = self.seeds(*weights.shape[:-2])
        if seeds is None:
            return weights
        row, column = (lax.broadcasted_iota(jnp.int32, weights.shape[-2:], axis) for axis in (0, 1))
        return jnp.where(kept(seeds[..., None, None], row, column, self.rate), weights / (1 - self.rate), 0)


NO_DROPOUT = Dropout()


def hashed(x: Int[Array, "*shape"]) -> Int[Array, "*shape"]:
    """A permutation of the 32-bit integers that changes half of the bits when one does (C. Wellons, "lowbias32")."""
    mix = lambda x, shift: x ^ lax.shift_right_logical(x, lax.full_like(x, shift))
    x = mix(x, 16) * np.int32(0x7FEB352D)
    x = mix(x, 15) * np.int32(0x846CA68B - 2**32)
    return mix(x, 16)


def kept(
    seed: Int[Array, "*#matrix"], row: Int[Array, "*#matrix"], column: Int[Array, "*#matrix"], rate: float
) -> Bool[Array, "*matrix"]:
    """Which probabilities stay. `row` is the query and `column` the key of each, in int32; each matrix has a seed."""
    # the rows are few: they are hashed first, so that an element costs one hash more
    bits = hashed(hashed(seed + row * np.int32(0x9E3779B1 - 2**32)) + column * np.int32(0x85EBCA77 - 2**32))
    return lax.shift_right_logical(bits, lax.full_like(bits, 8)) >= int(rate * 2**24)
