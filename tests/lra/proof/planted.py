"""An op whose implementations are planted: each is wrong, or ends badly, in a way of its own."""

import os
import time
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl

from lra.models.kernels.backends import Op

LENGTH = 1_100


class Static(NamedTuple):
    interpret: bool = False


class Operands(NamedTuple):
    x: Any
    w: Any


SHAPES = Operands(jax.ShapeDtypeStruct((2, LENGTH, 8), jnp.float32), jax.ShapeDtypeStruct((2, LENGTH, 8), jnp.float32))


def draw(static, shapes, rng):
    return Operands(*(rng.standard_normal(shape.shape, np.float32) for shape in shapes))


def right(static, x):
    return jnp.tanh(x.x * x.w)


def after(work, f):
    """f, after work that nobody needs and no compiler removes."""

    def slow(static, x):
        spin = jax.lax.fori_loop(0, work, lambda _, y: jnp.sin(y), jax.lax.stop_gradient(x.x))
        return f(static, x._replace(x=x.x + 1e-30 * spin))

    return slow


@jax.custom_vjp
def with_a_wrong_gradient(x):
    return right(None, x)


def backward(x, dy):
    dx, dw = jax.vjp(lambda x: right(None, x), x)[1](dy)[0]
    return (Operands(dx, 1.01 * dw),)


with_a_wrong_gradient.defvjp(lambda x: (right(None, x), x), backward)


def calling(host):
    """A right implementation that calls a function of Python."""

    def f(static, x):
        y = jax.pure_callback(lambda y: host() or y, x.x, jax.lax.stop_gradient(x.x))
        return right(static, x._replace(x=x.x + 0 * y))

    return f


def past_the_end(static, x):
    return right(static, x._replace(x=jnp.take(x.x, jnp.arange(1, LENGTH + 1), axis=1, mode="fill")))


@jax.custom_vjp
def not_for_a_cpu(x):
    def kernel(x, w, y):
        y[...] = jnp.tanh(x[...] * w[...])

    return pl.pallas_call(kernel, out_shape=SHAPES.x)(x.x, x.w)


not_for_a_cpu.defvjp(lambda x: (not_for_a_cpu(x), x), lambda x, dy: jax.vjp(lambda x: right(None, x), x)[1](dy))


def too_large(static, x):
    wide = jnp.broadcast_to(x.x[:, :, :, None, None], (*x.x.shape, 1 << 12, 1 << 12))
    wide = jax.lax.stop_gradient(wide * x.w[:, :, :, None, None])  # the gradient would scatter more than XLA can
    return right(static, x) + 0 * jnp.sort(wide, axis=-1).sum((-1, -2))


IMPLEMENTATIONS = {
    "xla": after(200, right),
    "fast": right,
    "one_percent": lambda static, x: 1.01 * right(static, x),
    "wrong_gradient": lambda static, x: with_a_wrong_gradient(x),
    "nan_beyond": lambda static, x: jnp.where(jnp.arange(LENGTH)[:, None] > 1_000, jnp.nan, right(static, x)),
    "past_the_end": past_the_end,
    "slow": after(4_000, right),
    "refused": lambda static, x: not_for_a_cpu(x),
    "too_large": too_large,
    "hanging": calling(lambda: time.sleep(3_600)),
    "aborting": calling(os.abort),
}


def admits(static, x):
    pass


def admits_nothing(static, x):
    raise NotImplementedError("it is for even lengths of another kind")


BACKENDS = {name: SimpleNamespace(admits=admits, forward=f) for name, f in IMPLEMENTATIONS.items()}
BACKENDS["another"] = SimpleNamespace(admits=admits_nothing, forward=right)


def run(name, static, x):
    return BACKENDS[name].forward(static, x)


OP = Op("planted op", __name__, BACKENDS, run, draw)
