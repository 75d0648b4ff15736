"""The projections around a variant that works on heads."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, Protocol

from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.models.attention.shape import Shape
from lra.models.dropout import Dropout as OfRepresentations
from lra.models.kernels.softmax import Dropout


def projection(rows: int, columns: int, rngs: nnx.Rngs) -> nnx.Linear:
    """A matrix without bias, initialised as LRA's are."""
    return nnx.Linear(rows, columns, use_bias=False, kernel_init=nnx.initializers.xavier_uniform(), rngs=rngs)


def split_heads(x: Float[Array, "batch length dim"], heads: int) -> Float[Array, "batch length heads head_dim"]:
    return x.reshape(*x.shape[:2], heads, -1)


def merge_heads(x: Float[Array, "batch length heads head_dim"]) -> Float[Array, "batch length dim"]:
    return x.reshape(*x.shape[:2], -1)


class AttentionDropout(nnx.Module):
    """Called, it gives the dropout of attention probabilities for one call of a variant; none in evaluation."""

    def __init__(self, rate: float, rngs: nnx.Rngs):
        self.dropout = OfRepresentations(rate, rngs=rngs)

    def __call__(self) -> Dropout:
        rate, rngs = self.dropout.rate, self.dropout.rngs
        if self.dropout.deterministic or rate == 0.0 or rngs is None:
            return Dropout()
        return Dropout(rate, rngs())


@dataclasses.dataclass(frozen=True)
class Core:
    """A function of (q, k, v, mask) with its options. Two of the same function and options are equal, so that a
    compiled program of one serves the other.
    """

    function: Callable[..., Array]
    options: tuple[tuple[str, Any], ...]

    def __hash__(self) -> int:
        return hash((self.function, repr(self.options)))  # an option may be a list

    def __call__(self, *inputs: Array, **more: Any) -> Array:
        return self.function(*inputs, **dict(self.options), **more)


class Checked(Protocol):
    """What holds the outputs of a core to the shape and type of its inputs: a `Variant`."""

    def like(self, x: Array, y: Any) -> Array: ...


class MultiHead(nnx.Module):
    """Query, key, value and output projections without bias, as LRA's (Vaswani et al. 2017, section 3.2.2)."""

    def __init__(self, core: Callable[..., Array], variant: Checked, shape: Shape, rngs: nnx.Rngs):
        self.q, self.k, self.v = (projection(shape.dim, shape.qkv_dim, rngs) for _ in "qkv")
        self.out = projection(shape.qkv_dim, shape.dim, rngs)
        self.core, self.variant, self.heads = core, variant, shape.heads
        function = core.function if isinstance(core, Core) else core
        self.takes_dropout = "dropout" in inspect.signature(function).parameters
        self.dropout = AttentionDropout(shape.dropout, rngs)

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        q, k, v = (split_heads(project(x), self.heads) for project in (self.q, self.k, self.v))
        return self.out(merge_heads(self.variant.like(q, self.on_heads(q, k, v, mask))))

    def on_heads(
        self,
        q: Float[Array, "batch length heads head_dim"],
        k: Float[Array, "batch length heads head_dim"],
        v: Float[Array, "batch length heads head_dim"],
        mask: Bool[Array, "batch length"],
    ) -> Float[Array, "batch length heads head_dim"]:
        """What the variant returns, without the projections."""
        options = {"dropout": self.dropout()} if self.takes_dropout else {}
        return self.core(q, k, v, mask, **options)
