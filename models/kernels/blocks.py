"""Sequences cut into blocks of tokens."""

import jax.numpy as jnp
from jaxtyping import Array


def into_blocks(x: Array, block: int) -> Array:
    """[batch, length, ...] to [batch, blocks, block, ...], zeros (False) filling the last block."""
    x = pad_to_multiple(x, block)
    return x.reshape(x.shape[0], x.shape[1] // block, block, *x.shape[2:])


def from_blocks(x: Array, length: int) -> Array:
    """[batch, blocks, block, ...] back to [batch, length, ...]."""
    return x.reshape(x.shape[0], x.shape[1] * x.shape[2], *x.shape[3:])[:, :length]


def with_neighbours(x: Array) -> Array:
    """[batch, blocks, block, ...] to [batch, blocks, 3 block, ...]: the block before, itself, the one after."""
    around = jnp.pad(x, [(0, 0), (1, 1), *[(0, 0)] * (x.ndim - 2)])
    return jnp.concatenate([around[:, :-2], around[:, 1:-1], around[:, 2:]], axis=2)


def pad_to_multiple(x: Array, multiple: int, axis: int = 1) -> Array:
    """x with zeros (False for a mask) behind it along `axis`, up to the next multiple."""
    missing = -x.shape[axis] % multiple
    return jnp.pad(x, [(0, missing if i == axis % x.ndim else 0) for i in range(x.ndim)])
