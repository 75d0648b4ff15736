"""The diagonal recurrence on XLA against its formula in float64, and what the function promises on any backend."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lra.checks.subject import quick_jit
from lra.models.kernels.recurrence import DIRECTIONS, diagonal_recurrence

from .core import Case, assert_agrees, assert_close, draw, problem, states

CASES = [
    Case(1, 3, constant=True, direction="both"),
    Case(1, 3, complex_=True),
    Case(16, 2, constant=True, complex_=True),
    Case(17, 2, constant=True, complex_=True, direction="both"),
    Case(300, 5, constant=True, direction="backward", dtype=jnp.bfloat16),
    Case(300, 3, constant=True, complex_=True, direction="both"),  # chunks of chunks, the last ones not full
    Case(64, 4, dtype=jnp.bfloat16, direction="both"),
    Case(65, 4, complex_=True, direction="backward"),
    Case(300, 3, complex_=True, direction="both"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_the_formula(case):
    assert_agrees(case)


@settings(max_examples=10)
@given(
    st.builds(
        Case, st.integers(1, 130), st.integers(1, 9), st.booleans(), st.booleans(), st.sampled_from(list(DIRECTIONS)),
        st.sampled_from([np.float32, jnp.bfloat16]), st.integers(1, 3),
    )
)  # fmt: skip
def test_equals_the_formula_at_any_shape(case):
    assert_agrees(case)


@pytest.mark.parametrize("constant", [True, False])
def test_long(constant):
    """4,097 tokens: chunks of chunks of chunks and one token more."""
    log_a, x, _ = problem(Case(4097, 2, constant=constant, complex_=True))
    wide = states(log_a.astype(complex), x.astype(complex))
    assert_close(quick_jit(diagonal_recurrence)(log_a, x), wide, 1e-5, "h")


def test_any_axes_of_state_and_mixed_types():
    rng = np.random.default_rng(1)
    log_a, x = (-1 + 1j * draw(rng, 2, 3)).astype(np.complex64), draw(rng, 2, 5, 2, 3).astype(np.float32)
    wide = states(log_a.astype(complex), x.astype(complex))
    run = quick_jit(diagonal_recurrence)
    assert_close(run(log_a, x), wide, 1e-5, "x real")
    wide = states(log_a.real.astype(float), x * 1j)
    assert_close(run(log_a.real, (x * 1j).astype(np.complex64)), wide, 1e-5, "log_a real")
    scalar = run(np.float32(-1), x[..., 0, 0])
    assert_close(scalar, states(np.float64(-1), x[..., 0, 0].astype(float)), 1e-5, "no axis")


def test_gradient_of_complex_numbers_is_jax_s():
    """The reference is plain JAX, one step after the other, also where a real x enters complex states."""
    rng = np.random.default_rng(2)
    log_a, x = (-1 + 1j * draw(rng, 3)).astype(np.complex64), draw(rng, 2, 7, 3).astype(np.float32)
    weights = draw(rng, 2, 7, 3, complex_=True)

    def plain(log_a, x):
        step = lambda h, x: (jnp.exp(log_a) * h + x,) * 2
        return jnp.moveaxis(jax.lax.scan(step, jnp.zeros((2, 3), log_a.dtype), jnp.moveaxis(x, 1, 0))[1], 0, 1)

    computed, exact = (
        quick_jit(jax.grad(lambda *y: jnp.real(f(*y) * weights + jnp.abs(f(*y))).sum(), (0, 1)))(log_a, x)  # noqa: B023
        for f in (diagonal_recurrence, plain)
    )
    for y, z in zip(computed, exact):
        assert_close(y, np.asarray(z), 1e-5, "gradient")


def test_a_state_that_does_not_fade():
    """a = 1 counts to a thousand; in bfloat16 it would stop at 256."""
    ones = jnp.ones((1, 1000, 1), jnp.bfloat16)
    for log_a in (jnp.zeros(1), jnp.zeros((1, 1000, 1))):
        out = quick_jit(diagonal_recurrence)(log_a, ones)
        assert out.dtype == jnp.float32
        assert out[0, -1, 0] == 1000


def test_what_is_refused():
    x = jnp.zeros((2, 5, 3))
    with pytest.raises(ValueError, match="direction 'up' is none of forward, backward, both"):
        diagonal_recurrence(jnp.zeros(3), x, direction="up")
    with pytest.raises(ValueError, match=r"log_a of shape \(5, 3\) is neither like x of shape \(2, 5, 3\)"):
        diagonal_recurrence(jnp.zeros((5, 3)), x)
    with pytest.raises(ValueError, match="backend 'triton' is none of"):
        diagonal_recurrence(jnp.zeros(3), x, backend="triton")
