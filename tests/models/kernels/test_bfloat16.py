"""In bfloat16 every backend is nearer to the truth than the formula in plain JAX, all of it in bfloat16."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.models.kernels.backends import use
from lra.models.kernels.linear_attention import linear_attention
from lra.models.kernels.recurrence import diagonal_recurrence
from lra.models.kernels.softmax import attend

from .where import PLATFORMS, interpret

pytestmark = pytest.mark.interpreter

LENGTH, WIDTH = 130, 32
RNG = np.random.default_rng(0)
Q, K, V = (jnp.asarray(RNG.normal(size=(1, LENGTH, 1, WIDTH)), jnp.bfloat16) for _ in range(3))
X = V[:, :, 0]
LOG_DECAY = jnp.asarray(-RNG.exponential(0.1, size=(1, LENGTH, 1, 1)), jnp.float32)
LOG_A = LOG_DECAY[0, 0, 0, 0] * jnp.ones(WIDTH)


def softmax(q, k, v):
    weights = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k) * WIDTH**-0.5)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, v)


def linear(q, k, v):
    sums = jnp.cumsum(LOG_DECAY[0, :, 0, 0])
    decay = jnp.where(np.tri(LENGTH, dtype=bool), jnp.exp(jnp.minimum(sums[:, None] - sums, 0)), 0).astype(q.dtype)
    return jnp.einsum("bhqk,bkhd->bqhd", jnp.einsum("bqhd,bkhd->bhqk", q, k) * decay, v)


def recurrence(x):
    a = jnp.exp(LOG_A).astype(x.dtype)

    def step(h, x):
        h = a * h + x
        return h, h

    return jax.lax.scan(step, jnp.zeros_like(x[:, 0]), jnp.swapaxes(x, 0, 1))[1].swapaxes(0, 1)


OPS = {
    "softmax": (softmax, lambda q, k, v: attend(q, k, v)[0], (Q, K, V)),
    "linear": (linear, lambda q, k, v: linear_attention(q, k, v, causal=True, log_decay=LOG_DECAY), (Q, K, V)),
    "recurrence": (recurrence, lambda x: diagonal_recurrence(LOG_A, x), (X,)),
}


def results(function, args):
    """The output of an op and its gradients, for a fixed cotangent."""

    @jax.jit
    def run(*args):
        out, back = jax.vjp(function, *args)
        cotangent = jnp.cos(jnp.arange(out.size, dtype=jnp.float32)).reshape(out.shape)
        return out, *back(cotangent.astype(jnp.bfloat16).astype(out.dtype))

    return [np.asarray(x, np.float64) for x in run(*args)]


@pytest.mark.parametrize("backend", ["xla", *PLATFORMS])
@pytest.mark.parametrize("op", OPS)
def test_errors_are_no_larger_than_those_of_plain_bfloat16(op, backend):
    plain, ours, args = OPS[op]
    with jax.default_matmul_precision("highest"):
        exact = results(plain, [x.astype(jnp.float32) for x in args])
    rough = results(plain, args)
    with use(backend, backend != "xla" and interpret(backend)):
        computed = results(ours, args)
    error = lambda x, y: np.sqrt(np.square(x - y).mean())
    for name, truth, x, y in zip(("out", "first", "second", "third"), exact, computed, rough):
        assert error(x, truth) <= error(y, truth), f"{name}: {error(x, truth):.2g} beside {error(y, truth):.2g}"
