"""A variant at a size at which two dozen tokens show what it is, as pure functions."""

import dataclasses
import functools
import inspect
from collections.abc import Mapping
from typing import Any

import gin
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.models.attention import Shape, Variant
from lra.models.oracles import Given

# compiles in half the time
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

SHAPE = Shape(dim=10, qkv_dim=12, heads=3, max_length=24)
Tree = Any


def options_of(variant: Variant) -> dict[str, Any]:
    """The keyword arguments of a variant: its defaults, and over them what gin has bound."""
    target = variant.make.__init__ if inspect.isclass(variant.make) else variant.make  # type: ignore[misc]
    found = {
        name: parameter.default
        for name, parameter in inspect.signature(target).parameters.items()
        if parameter.default is not parameter.empty and name != "dropout"
    }
    return found | {name: value for name, value in gin.get_bindings(variant.name).items() if name in found}


class Subject:
    """One layer of a variant, its parameters moved away from where they begin.

    Those that begin as 0 or 1 would hide what they are used for. A layer that is handed something by those below is
    given what they make of the same tokens.

    Attributes:
      params: the trainable ones.
      rest: all other variables.
    """

    def __init__(
        self, variant: Variant, shape: Shape = SHAPE, seed: int = 0, scatter: float = 0.1, train: bool = False
    ):
        self.variant, self.shape = variant, shape
        below = range(shape.layer) if variant.form == "carrying mixer" else ()
        rngs = nnx.Rngs(params=seed, dropout=seed + 1)
        shapes = [dataclasses.replace(shape, layer=layer) for layer in (*below, shape.layer)]
        layers = nnx.List([variant.build(each, rngs) for each in shapes])
        if not train:
            layers.eval()
        self.graph, self.params, self.rest = nnx.split(layers, nnx.Param, ...)  # type: ignore[misc]
        rng = np.random.default_rng(seed)
        self.params = jax.tree.map(lambda x: x + scatter * rng.normal(size=x.shape).astype(x.dtype), self.params)
        self.compiled = quick_jit(self.f)

    def f(
        self, params: Tree, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        """The layer's output, pure."""
        y, carry = x, None
        for module in nnx.merge(self.graph, params, self.rest, copy=True):
            y, carry = self.variant.mix(module, x, mask, carry)
        return y

    def __call__(self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]) -> np.ndarray:
        return np.asarray(self.compiled(self.params, x, mask))

    @property
    def module(self) -> Any:
        return nnx.merge(self.graph, self.params, self.rest, copy=True)[-1]

    # --- what an oracle is compared with: a variant on heads without its projections

    def core(self, params: Tree, mask: Bool[Array, "batch length"], *inputs: Array) -> Array:
        """The output for q, k, v or x."""
        if self.variant.form != "heads":
            return self.f(params, *inputs, mask)
        return nnx.merge(self.graph, params, self.rest, copy=True)[-1].core(*inputs, mask)

    def inputs(self, batch: int, length: int) -> list[tuple[int, ...]]:
        """The shapes of those inputs."""
        if self.variant.form != "heads":
            return [(batch, length, self.shape.dim)]
        return [(batch, length, self.shape.heads, self.shape.head_dim)] * 3

    def weights(self, tree: Tree) -> dict[str, np.ndarray]:
        """The arrays of a state by the names under which an oracle knows them."""
        prefix = str(self.shape.layer if self.variant.form == "carrying mixer" else 0)
        prefix += ".core." if self.variant.form == "heads" else "."
        found = {}
        for path, leaf in nnx.to_flat_state(tree):
            name = ".".join(map(str, path))
            if name.startswith(prefix) and isinstance(leaf, nnx.Variable) and not isinstance(leaf, nnx.RngState):
                value = np.asarray(leaf.get_value())
                found[name.removeprefix(prefix)] = value.astype(float) if value.dtype == np.float32 else value
        return found

    def given(self, weights: Mapping[str, np.ndarray]) -> Given:
        sizes = {key: value for key, value in dataclasses.asdict(self.shape).items() if key != "dropout"}
        return Given(weights, options_of(self.variant), sizes)


def normal(*shape: int, seed: int = 0) -> Float[np.ndarray, "..."]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def masks(length: int) -> Bool[np.ndarray, "6 length"]:
    """A full row, one short of it, a half, one token, none, and one with holes."""
    counts = np.array([length, max(length - 1, 1), (length + 1) // 2, 1, 0])
    holes = np.random.default_rng(length).random((1, length)) < 0.6
    holes[0, -1] = True
    return np.concatenate([np.arange(length) < counts[:, None], holes])
