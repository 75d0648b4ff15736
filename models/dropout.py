"""Dropout of representations."""

from typing import Any

from flax import nnx
from jaxtyping import Array, Float, Key

from lra.models.kernels.softmax import Dropout as OfMatrices

BY_PLACE = "by_place"  # the tag of the random streams whose numbers stand for places in a batch
# "default" is the tag of the streams of a model that was built with a single seed
OTHERS = ("dropout", "default")


class Dropout(nnx.Dropout):
    """nnx.Dropout by a hash of each number's place, as attention probabilities are dropped.

    The bits of `jax.random`, of which nnx.Dropout takes 32 for each number, are a third of a training step on a CPU.
    """

    def __init__(self, rate: float, *, rngs: nnx.Rngs, **options: Any):
        super().__init__(rate, rngs=nnx.RngStream(rngs.dropout(), tag=BY_PLACE), **options)

    def __call__(self, x: Float[Array, "batch length dim"]) -> Float[Array, "batch length dim"]:  # type: ignore[override]
        if self.deterministic or self.rate == 0.0:
            return x
        return OfMatrices(self.rate, self.rngs())(x)


def reseed(module: nnx.Module, key: Key[Array, ""], *tags: str) -> None:
    """Makes what the random streams of some tags draw a function of the key."""
    keys: dict[str, Any] = dict.fromkeys(tags, key)
    nnx.reseed(module, **keys)
