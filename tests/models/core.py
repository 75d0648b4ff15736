"""A variant as a pure function, its oracle likewise, and how the two are compared."""

import functools
import inspect

import jax
import numpy as np
import pytest
from flax import nnx

from lra.models.attention import VARIANTS, Shape

from . import oracles

# small enough that a dozen tokens cross several windows, segments and mixtures
SMALL = {
    "transformer": {},
    "local": {"radius": 2},
    "linear": {},
    "performer": {"features": 6},
    "linformer": {"rank": 3, "share": "headwise"},
    "dilated": {"segment": 4},
}
# large enough that it is the length that decides about memory
LARGE = {"local": {"radius": 16}, "performer": {"features": 32}, "linformer": {"rank": 32}, "dilated": {"segment": 512}}

# compiles in half the time
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
every_variant = pytest.mark.parametrize("name", SMALL)


class Core:
    """A variant as a function of (mask, q, k, v, *weights), and its oracle likewise."""

    def __init__(self, name: str, shape: Shape, key: int | jax.Array = 0, **options):
        self.name, self.shape, self.options = name, shape, options
        make = VARIANTS[name].make
        self.module = make(shape, **options, rngs=nnx.Rngs(params=key)) if inspect.isclass(make) else None
        if self.module is None:
            self.weights, self.f = [], lambda mask, q, k, v, **more: make(q, k, v, mask, **options, **more)
        else:
            graph, weights, rest = nnx.split(self.module, nnx.Param, ...)
            self.weights, tree = jax.tree.flatten(weights)
            self.f = lambda mask, q, k, v, *weights, **more: nnx.merge(graph, tree.unflatten(weights), rest)(
                q, k, v, mask, **more
            )
        self.compiled = quick_jit(self.f)

    def __call__(self, mask, q, k, v):
        return self.compiled(mask, q, k, v, *self.weights)

    def oracle(self, mask, q, k, v, *weights):
        more = dict(self.options)
        if self.name == "dilated":
            more = {"ratio": 2, "max_length": self.shape.max_length} | more
        elif self.name == "performer":
            projection = np.asarray(self.module.projection.get_value(), float)
            more = {"projection": projection, "epsilon": more.get("epsilon", 1e-6)}
        elif self.name == "linformer":
            more = {"e": weights[0], "f": weights[-1]}
        return getattr(oracles, self.name)(q, k, v, mask, **more)


@functools.cache
def core_of(name: str, max_length: int, heads: int = 3, head_dim: int = 4, **options) -> Core:
    return Core(name, Shape(heads * head_dim, heads * head_dim, heads, max_length), **options)


def small(name: str) -> Core:
    return core_of(name, 16, **SMALL[name])


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def rows(length: int) -> np.ndarray:
    """Masks: a full row, one short of it, a half, one token, none, and one with holes."""
    counts = np.array([length, max(length - 1, 1), (length + 1) // 2, 1, 0])
    holes = np.random.default_rng(length).random((1, length)) < 0.6
    holes[0, -1] = True
    return np.concatenate([np.arange(length) < counts[:, None], holes])


def check_against_oracle(core: Core, mask: np.ndarray) -> None:
    """Values at the real queries, and the gradient along random directions of every input and weight.

    A random direction meets an error of the gradient with all of its norm, wherever the error is.
    """
    rng = np.random.default_rng(1)
    inputs = [rng.normal(size=(*mask.shape, core.shape.heads, core.shape.head_dim)) for _ in "qkv"]
    inputs = [np.float32(x) for x in (*inputs, *core.weights)]
    cotangent = np.float32(rng.normal(size=inputs[0].shape) * mask[..., None, None])

    @quick_jit
    def value_and_gradient(mask, inputs, cotangent):
        out, pull_back = jax.vjp(functools.partial(core.f, mask), *inputs)
        return out, pull_back(cotangent)

    out, gradient = value_and_gradient(mask, inputs, cotangent)
    oracle, exact = functools.partial(core.oracle, mask), [np.float64(x) for x in inputs]
    np.testing.assert_allclose(out[mask], oracle(*exact)[mask], rtol=1e-5, atol=1e-5)
    for which, part in enumerate(np.float64(x) for x in gradient):
        for _ in range(2):
            directions = [rng.normal(size=x.shape) * (n == which) for n, x in enumerate(exact)]
            expected = (cotangent * oracles.derivative(oracle, exact, directions)).sum()
            error = (part * directions[which]).sum() - expected
            assert abs(error) <= 1e-5 * np.linalg.norm(part) + 1e-6 * np.linalg.norm(cotangent), which
