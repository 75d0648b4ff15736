"""Layers of diagonal linear recurrences, values and gradients, against one step at a time in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.checks.subject import quick_jit
from lra.models.kernels import recurrence

LENGTH = 300  # chunks of chunks, the last ones not full
STEP = 1e-6


def step_by_step(a, b, mask, reverse=False):
    a, x = np.broadcast_to(a, b.shape), np.zeros(b.shape, np.result_type(a, b))
    for row, real in enumerate(mask):
        state = 0
        for i in np.flatnonzero(real)[:: -1 if reverse else 1]:
            state = a[row, i] * state + b[row, i]
            x[row, i] = state
    return x


def draw(rng, *shape, complex_=False):
    x = rng.normal(size=shape)
    return x + 1j * rng.normal(size=shape) if complex_ else x


def holes(rng, length=LENGTH):
    return rng.random((2, length)) < np.array([[0.5], [1.0]])


def agree(f, exact, arguments, mask):
    """Values, and the gradient of a random combination of them along a random direction of each argument."""
    rng = np.random.default_rng(9)
    expected = exact(*arguments)
    weights = draw(rng, *expected.shape) * mask.reshape(*mask.shape, *[1] * (expected.ndim - 2))
    narrow = lambda x: jnp.asarray(x, jnp.complex64 if np.iscomplexobj(x) else jnp.float32)
    total = lambda *arguments: (jnp.real(f(*arguments)) * weights).sum()
    out, gradient = quick_jit(lambda *x: (f(*x), jax.grad(total, tuple(range(len(x))))(*x)))(*map(narrow, arguments))
    assert out.dtype == narrow(expected).dtype
    scale = np.abs(expected).max()
    np.testing.assert_allclose(np.asarray(out)[mask], expected[mask], atol=1e-5 * scale, rtol=0)
    for n, (x, slope) in enumerate(zip(arguments, gradient)):
        direction = draw(rng, *x.shape, complex_=np.iscomplexobj(x))
        up, down = (exact(*arguments[:n], x + sign * direction, *arguments[n + 1 :]) for sign in (STEP, -STEP))
        expected = ((up - down).real * weights).sum() / (2 * STEP)
        directional = (np.asarray(slope) * direction).real.sum()  # JAX's gradient of a complex number is the conjugate
        assert abs(directional - expected) < 1e-4 * (np.linalg.norm(slope) + scale), n


@pytest.mark.parametrize("complex_", [False, True])
def test_constant_convolution(complex_):
    rng = np.random.default_rng(2)
    log_a = -np.exp(draw(rng, 3, 4) - 3) + (1j * draw(rng, 3, 4) if complex_ else 0)
    weights, u, every = draw(rng, 3, 4, complex_=complex_), draw(rng, 2, LENGTH, 3), np.ones((2, LENGTH), bool)

    def exact(log_a, weights, u):
        states = step_by_step(np.exp(log_a), u[..., None] + np.zeros(4), every)
        return (states * weights).sum(-1).real

    agree(recurrence.constant_convolution, exact, (log_a, weights, u), every)
    short = lambda u: recurrence.constant_convolution(jnp.asarray(log_a), jnp.asarray(weights), u)
    np.testing.assert_allclose(short(u[:, :9]), exact(log_a, weights, u)[:, :9], atol=1e-5)


def test_bidirectional_state_space():
    rng = np.random.default_rng(3)
    mask = holes(rng)
    log_a = -np.exp(draw(rng, 4) - 3) + 1j * draw(rng, 4)
    b, c = draw(rng, 4, 3, complex_=True), draw(rng, 2, 5, 4, complex_=True)

    def exact(log_a, b, c, u):
        forward, backward = (step_by_step(np.exp(log_a), u @ b.T, mask, reverse) for reverse in (False, True))
        return (forward @ c[0].T + backward @ c[1].T).real

    arguments = (log_a, b, c, draw(rng, 2, LENGTH, 3))
    agree(lambda *x: recurrence.bidirectional_state_space(*x, mask), exact, arguments, mask)


def test_gaps_close_and_open():
    rng = np.random.default_rng(4)
    mask = holes(rng, 12)
    mask[1, :] = False
    x = draw(rng, 2, 12, 3).astype(np.float32)
    closed = recurrence.close_gaps(jnp.where(mask[..., None], x, jnp.nan), mask)
    np.testing.assert_array_equal(closed[0, : mask[0].sum()], x[0, mask[0]])
    assert not closed[0, mask[0].sum() :].any()
    assert not closed[1].any()
    np.testing.assert_array_equal(recurrence.open_gaps(closed, mask)[mask], x[mask])
