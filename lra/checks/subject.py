"""A small layer of a variant as pure functions, for the checks."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.configuration import build, layered, parse_override
from lra.models.attention import Shape, Variant
from lra.models.attention.options import options_dict
from lra.models.oracles import Given
from lra.recipe import parsed

# without optimisation XLA compiles in half the time
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

LENGTH = 24
# As in a protocol, the heads divide the width, and that of queries is another; no two sizes of an array are the same.
SHAPE = Shape(dim=40, qkv_dim=32, heads=4, max_length=LENGTH)
Tree = Any
Tokens = Float[jax.Array | np.ndarray, "batch length dim"]
Mask = Bool[jax.Array | np.ndarray, "batch length"]


def normal(*shape: int, seed: int = 0) -> Float[np.ndarray, "..."]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def masks(length: int) -> Bool[np.ndarray, "6 length"]:
    """Six rows: full, one token short, half full, one token, no token, and one with holes."""
    counts = np.array([length, max(length - 1, 1), (length + 1) // 2, 1, 0])
    holes = np.random.default_rng(length).random((1, length)) < 0.6
    holes[0, -1] = True
    return np.concatenate([np.arange(length) < counts[:, None], holes])


MASK = masks(LENGTH)
SOME = MASK.any(1)  # the rows with a token; the one without is for 'all masked' alone where a NaN would spread
X = normal(*MASK.shape, SHAPE.dim)


def options_of(variant: Variant, overrides: Sequence[str] = (), *, small: bool = True) -> Any:
    """The options with which a variant is checked: its defaults, or its small options, and over them those by hand.

    Args:
      small: whether its small options replace its defaults. They do wherever there is no default.

    Raises:
      UsageError: an override is not valid.
    """
    required = {field.name for field in dataclasses.fields(variant.options) if field.default is dataclasses.MISSING}
    chosen = {name: value for name, value in variant.small.items() if small or name in required}
    bindings = [parse_override(f"{variant.name}.{name} = {value!r}") for name, value in chosen.items()]
    return build(variant.name, layered(bindings, parsed(overrides)))


class Subject:
    """One layer of a variant, with random numbers added to its initial parameters.

    A parameter that is initialised as 0 or 1 would hide how it is used. If layers carry values, the layers below are
    built too and process the same tokens.

    Args:
      options: the variant's options; None for its defaults.
      seed: the seed of the parameters.
      scatter: the scale of the random numbers that are added to the parameters.
      train: whether the layer is in training mode.

    Attributes:
      params: the trainable parameters.
      rest: all other variables.
      overrides: gin bindings given by hand, for checks that build the variant at other sizes.
    """

    overrides: Sequence[str] = ()

    def __init__(
        self,
        variant: Variant,
        shape: Shape = SHAPE,
        options: Any = None,
        *,
        seed: int = 0,
        scatter: float = 0.1,
        train: bool = False,
    ):
        self.variant, self.shape = variant, shape
        self.options = variant.options() if options is None else options
        below = range(shape.layer) if variant.form == "carrying mixer" else ()
        shapes = [dataclasses.replace(shape, layer=layer) for layer in (*below, shape.layer)]
        rngs = nnx.Rngs(params=seed, dropout=seed + 1)
        layers = nnx.List([variant.build(each, rngs, self.options) for each in shapes])
        if not train:
            layers.eval()
        params: Tree
        self.graph: Any
        self.rest: Tree
        self.graph, params, self.rest = nnx.split(layers, nnx.Param, ...)  # type: ignore[misc]
        rng = np.random.default_rng(seed)
        scattered = lambda x: x + scatter * rng.normal(size=x.shape).astype(x.dtype)
        self.params: Tree = (
            jax.tree.map(scattered, params) if scatter else params
        )  # without scatter, parameters may be abstract
        self.compiled, self.compiled_gradient = quick_jit(self.f), quick_jit(self.gradient)

    def layers(self, params: Tree, rest: Tree) -> Any:
        """This layer, and before it the layers below if they carry values, with given variables."""
        return nnx.merge(self.graph, params, rest, copy=True)

    @property
    def module(self) -> Any:
        """The module of the layer. A variant that works on heads is the `core` of its module."""
        return self.layers(self.params, self.rest)[-1]

    def outputs(self, layers: Any, x: Tokens, mask: Mask) -> list[Float[Array, "batch length dim"]]:
        """The output of each of `layers` for the same tokens."""
        outputs: list[Array] = []
        carry = None
        for module in layers:
            y, carry = self.variant.mix(module, x, mask, carry)  # type: ignore[arg-type]
            outputs.append(y)
        return outputs

    def f(self, params: Tree, x: Tokens, mask: Mask) -> Float[Array, "batch length dim"]:
        """The output of the layer as a pure function."""
        return self.outputs(self.layers(params, self.rest), x, mask)[-1]

    def __call__(self, x: Tokens, mask: Mask) -> np.ndarray:
        return np.asarray(self.compiled(self.params, x, mask))

    def gradient(
        self, params: Tree, x: Tokens, mask: Mask, cotangent: Tokens, below: float
    ) -> tuple[Tree, Float[jax.Array, "batch length dim"]]:
        """The gradients of parameters and tokens, given that of the outputs, and its share for the layers below."""
        outputs, pull_back = jax.vjp(lambda params, x: self.outputs(self.layers(params, self.rest), x, mask), params, x)
        return pull_back([below * cotangent] * (len(outputs) - 1) + [cotangent])

    def pull(
        self, x: Tokens, mask: Mask, cotangent: Tokens, params: Tree = None, *, all_layers: bool = False
    ) -> tuple[dict[str, np.ndarray], Float[np.ndarray, "batch length dim"]]:
        """The gradients of the parameters by name, and of the tokens, given that of the outputs at the real tokens.

        Args:
          params: the parameters of the layer; None for its own.
          all_layers: whether the outputs of the layers below count too, if there are any.
        """
        params = self.params if params is None else params
        cotangent = np.where(mask[..., None], cotangent, 0)
        of_params, of_tokens = self.compiled_gradient(params, x, mask, cotangent, np.float32(all_layers))
        leaves = jax.tree_util.tree_leaves_with_path(of_params)
        by_name = {jax.tree_util.keystr(path).removesuffix(".value"): np.asarray(leaf) for path, leaf in leaves}
        return by_name, np.asarray(of_tokens)

    # --- for the comparison with an oracle, which has no projections

    def core(self, params: Tree, mask: Mask, *inputs: Array) -> Array:
        """The output of the variant without projections. Its inputs are q, k, v if it works on heads, else x."""
        if self.variant.form != "heads":
            return self.f(params, inputs[0], mask)
        return self.layers(params, self.rest)[-1].on_heads(*inputs, mask)

    def inputs(self, batch: int, length: int) -> list[tuple[int, ...]]:
        """The shapes of the inputs of `core`."""
        if self.variant.form != "heads":
            return [(batch, length, self.shape.dim)]
        return [(batch, length, self.shape.heads, self.shape.head_dim)] * 3

    def weights(self, tree: Tree) -> dict[str, np.ndarray]:
        """The arrays of a state, by the names that an oracle uses."""
        carrying = self.variant.form == "carrying mixer"
        prefix = "" if carrying else "0.core." if self.variant.form == "heads" else "0."
        arrays: dict[str, np.ndarray] = {}
        for path, leaf in nnx.to_flat_state(tree):
            name = ".".join(map(str, path))
            if name.startswith(prefix) and not isinstance(leaf, nnx.RngState):
                value = np.asarray(leaf.get_value())
                arrays[name.removeprefix(prefix)] = value.astype(float) if value.dtype == np.float32 else value
        return arrays

    def given(self, weights: Mapping[str, np.ndarray]) -> Given:
        """The last argument of an oracle: weights, options and sizes."""
        sizes = {key: value for key, value in dataclasses.asdict(self.shape).items() if key != "dropout"}
        if not self.variant.by_layer:
            sizes |= {"layer": 0, "layers": 1}
        return Given(weights, options_dict(self.options), sizes)
