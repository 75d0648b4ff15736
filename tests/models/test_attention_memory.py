"""Every variant needs memory linear in the length."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from .core import LARGE, SMALL, core_of, every_variant, quick_jit


def program(name: str, length: int, gradient: bool):
    core = core_of(name, length, heads=2, head_dim=8, **LARGE.get(name, {}))
    x = jax.ShapeDtypeStruct((1, length, 2, 8), jnp.float32)
    f = core.f
    if gradient:
        f = jax.grad(lambda *inputs: jnp.square(core.f(*inputs)).sum(), tuple(range(1, 4 + len(core.weights))))
    return f, (jax.ShapeDtypeStruct((1, length), jnp.bool_), x, x, x, *core.weights)


def arrays(jaxpr) -> Iterator[tuple[int, ...]]:
    """The shapes of all arrays in a jaxpr and, recursively, in those that it calls."""
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    for variable in (*jaxpr.constvars, *jaxpr.invars, *(x for e in jaxpr.eqns for x in (*e.invars, *e.outvars))):
        yield getattr(variable.aval, "shape", ())
    is_jaxpr = lambda x: hasattr(x, "eqns")
    for inner in jax.tree.leaves([list(e.params.values()) for e in jaxpr.eqns], is_leaf=is_jaxpr):
        if is_jaxpr(inner):
            yield from arrays(inner)


def is_square(shape: tuple[int, ...], length: int) -> bool:
    return sum(axis >= length for axis in shape) > 1


def square(x):
    return jnp.tanh(x @ x.T) @ x


@jax.custom_vjp
def square_in_a_rule(x):
    return x


square_in_a_rule.defvjp(lambda x: (x, x), lambda x, g: (square(x) * g,))


@pytest.mark.parametrize(
    "f",
    [
        jax.jit(square),
        jax.checkpoint(square),
        lambda x: jax.lax.map(square, x[None]),
        lambda x: jax.lax.cond(x[0, 0] > 0, square, jnp.square, x),
        lambda x: jax.vjp(square_in_a_rule, x)[1](x),
        lambda x: np.ones((64, 64)) @ x,
    ],
    ids=["jit", "checkpoint", "scan", "cond", "custom_vjp", "constant"],
)
def test_squares_are_found_wherever_they_hide(f):
    shapes = arrays(jax.make_jaxpr(f)(jnp.ones((64, 8))))
    assert any(is_square(shape, 64) for shape in shapes)


@every_variant
@pytest.mark.parametrize("gradient", [False, True], ids=["forward", "gradient"])
def test_no_square_of_the_length(name, gradient):
    biggest = {}
    for length in (2048, 4096):
        f, inputs = program(name, length, gradient)
        shapes = list(arrays(jax.make_jaxpr(f)(*inputs)))
        assert not [shape for shape in shapes if is_square(shape, length)]
        biggest[length] = max(map(np.prod, shapes))
    assert biggest[4096] <= 2.1 * biggest[2048]
    if name == "transformer":
        assert biggest[4096] <= 2 * 512 * 4096


@pytest.mark.parametrize("name", [name for name in SMALL if name != "transformer"])
@pytest.mark.parametrize("gradient", [False, True], ids=["forward", "gradient"])
def test_memory_is_linear_in_the_length(name, gradient):
    def memory(length: int) -> int:
        f, inputs = program(name, length, gradient)
        return quick_jit(f).lower(*inputs).compile().memory_analysis().temp_size_in_bytes

    assert memory(4096) <= 2.25 * memory(2048)  # dilated has one scale more
