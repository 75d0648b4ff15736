"""The projections around a variant that works on heads."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UserError
from lra.models.kernels.softmax import Dropout

if TYPE_CHECKING:
    from lra.models.attention.registry import Shape


def of_shape(like: Array, y: Any, name: str) -> Array:
    """What variant `name` returned, if it is an array of the shape that it was given.

    Raises:
      UserError: it is not; anything else may broadcast without a word.
    """
    if isinstance(y, jax.Array) and y.shape == like.shape:
        return y
    got = f"an array of shape {list(y.shape)}" if isinstance(y, jax.Array) else f"a {type(y).__name__}"
    raise UserError(f"variant '{name}' returned {got}; it must return an array of shape {list(like.shape)}")


class MultiHead(nnx.Module):
    """Query, key, value and output projections without bias, as LRA's (Vaswani et al. 2017, section 3.2.2)."""

    def __init__(self, core: Callable[..., Array], name: str, shape: "Shape", rngs: nnx.Rngs):
        project = lambda rows, columns: nnx.Linear(
            rows, columns, use_bias=False, kernel_init=nnx.initializers.xavier_uniform(), rngs=rngs
        )
        self.q, self.k, self.v = (project(shape.dim, shape.qkv_dim) for _ in "qkv")
        self.out = project(shape.qkv_dim, shape.dim)
        self.core, self.name, self.heads = core, name, shape.heads
        self.takes_dropout = "dropout" in inspect.signature(core).parameters
        self.dropout = nnx.Dropout(shape.dropout, rngs=rngs)

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        q, k, v = (project(x).reshape(*x.shape[:2], self.heads, -1) for project in (self.q, self.k, self.v))
        options = {"dropout": self.attention_dropout()} if self.takes_dropout else {}
        y = of_shape(q, self.core(q, k, v, mask, **options), self.name)
        return self.out(y.reshape(*x.shape[:2], -1))

    def attention_dropout(self) -> Dropout:
        rate, rngs = self.dropout.rate, self.dropout.rngs
        if self.dropout.deterministic or rate == 0.0 or rngs is None:
            return Dropout()
        return Dropout(rate, rngs())
