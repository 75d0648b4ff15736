"""Where the arrays of a run are: on a mesh of devices with the axes `seed` and `data`.

The seeds of a run are spread over the axis `seed`, the examples of a batch over `data`. XLA adds up the gradients of
the examples. So a run has the same losses on one device and on many, up to rounding.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lra import settings

T = TypeVar("T")
SEED, DATA = "seed", "data"


@dataclasses.dataclass(frozen=True)
class Placement:
    """A mesh, and where on it arrays are, by the meaning of their axes."""

    mesh: Mesh

    def at(self, *axes: str | None) -> NamedSharding:
        """Where an array is whose first axes are spread over these axes of the mesh, None being no axis."""
        return NamedSharding(self.mesh, PartitionSpec(*axes))

    def put(self, tree: T, *axes: str | None) -> T:
        """Brings arrays to the devices. Without axes, each device gets all of it."""
        return jax.device_put(tree, self.at(*axes))

    def bytes_of(self, tree: Any) -> int:
        """The bytes of arrays on one of the devices."""
        return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(tree))

    def constrain(self, tree: T, *axes: str | None) -> T:
        """Says inside of a program where arrays are."""
        return jax.lax.with_sharding_constraint(tree, self.at(*axes)) if self.mesh.size > 1 else tree

    @property
    def device(self) -> jax.Device:
        """One of the devices, for what is alike on all of them."""
        return self.mesh.devices.flat[0]

    @property
    def sizes(self) -> dict[str, int]:
        """The number of devices along each axis."""
        return dict(self.mesh.shape)

    def words(self, there: int) -> str:
        """The mesh in words.

        Args:
          there: the number of devices that are there.
        """
        used = self.mesh.size
        devices = f"{used} devices" if used == there else f"{used} of {there} devices"
        spread = [f"{count} for the {what}" for what, count in zip(("seeds", "batch"), self.sizes.values())]
        return f"{devices}, {' x '.join(spread)}"


def placement_of(seeds: int, batch: int, devices: Sequence[jax.Device] | None = None) -> Placement:
    """The mesh that keeps the most devices busy. Where several do, it spreads seeds rather than batches.

    Args:
      seeds: the seeds of the run; the axis `seed` divides their number.
      batch: the examples that one seed computes at once; the axis `data` divides their number.
      devices: those that may be used; None for all that JAX has.
    """
    devices = settings.devices() if devices is None else devices
    shapes = [
        (spread, largest_divisor(batch, len(devices) // spread))
        for spread in range(1, min(seeds, len(devices)) + 1)
        if seeds % spread == 0
    ]
    shape = max(shapes, key=lambda shape: (math.prod(shape), shape))
    return Placement(Mesh(np.array(devices[: math.prod(shape)]).reshape(shape), (SEED, DATA)))


def largest_divisor(number: int, most: int) -> int:
    """The largest divisor of a number that is at most `most`."""
    return next(divisor for divisor in range(most, 0, -1) if number % divisor == 0)
