"""XLA's linear attention with decay, against the recurrence token by token."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lra.models.kernels.linear_attention import xla
from lra.models.kernels.linear_attention.operands import Operands, Static

from .oracle import KINDS, assert_close, oracle, problem

quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@functools.partial(quick_jit, static_argnames=("reverse", "chunk"))
def value_and_gradients(q, k, v, log_decay, dy, reverse=False, chunk=8):
    run = lambda *x: xla.forward(Static(reverse), Operands(*x), chunk)
    y, pull_back = jax.vjp(run, q, k, v, log_decay)
    return y, *pull_back(dy)


@pytest.mark.parametrize(("kind", "reverse"), [*((kind, False) for kind in KINDS), ("token", True), ("channel", True)])
def test_values_and_gradients(kind, reverse):
    inputs = problem(19, kind)
    assert_close(value_and_gradients(*inputs, reverse=reverse), oracle(*inputs, reverse=reverse))


@settings(max_examples=2, phases=[Phase.generate])
@given(
    length=st.integers(1, 40), dims=st.tuples(st.integers(1, 9), st.integers(1, 9)), kind=st.sampled_from(list(KINDS))
)
def test_any_length_and_width(length, dims, kind):
    inputs = problem(length, kind, *dims)
    assert_close(value_and_gradients(*inputs), oracle(*inputs))


@pytest.mark.parametrize("length", [64, 4097])
@pytest.mark.parametrize("kind", ["token", "channel"])
def test_chunks_as_they_are_used(kind, length):
    inputs = problem(length, kind)
    assert_close(value_and_gradients(*inputs, chunk=xla.CHUNK), oracle(*inputs))


@pytest.mark.parametrize("kind", ["token", "channel"])
def test_a_sum_over_a_chunk_does_not_lose_the_small_decays(kind):
    """After decays by e^-200 a token, the differences of running sums would be off by 1e-3."""
    q, k, v, decay, dy = problem(128, kind)
    decay[:, :60], decay[:, 60:64], decay[:, 64:] = -200, -1e-3, -1e-2
    y = value_and_gradients(q, k, v, decay, dy, chunk=64)[0]
    np.testing.assert_allclose(y, oracle(q, k, v, decay, dy).y, rtol=2e-6, atol=1e-5)


@pytest.mark.parametrize("kind", ["token", "channel"])
def test_decays_that_underflow_leave_nothing_but_the_token_itself(kind):
    q, k, v, decay, dy = problem(16, kind)
    y, *gradients = value_and_gradients(q, k, v, np.full_like(decay, -1e4), dy)
    np.testing.assert_allclose(y, (q * k).sum(-1, keepdims=True) * v, rtol=1e-5, atol=1e-6)
    assert all(np.isfinite(x).all() for x in gradients)


@pytest.mark.parametrize("kind", ["token", "channel"])
def test_bfloat16_is_summed_in_float32(kind):
    q, k, v, decay, dy = problem(300, kind, strongest=0.01)
    q, k, v = (jnp.bfloat16(x) for x in (q, k, v))
    y = quick_jit(functools.partial(xla.forward, Static()))(Operands(q, k, v, decay))
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(y, oracle(q, k, v, decay, dy).y, rtol=1e-4, atol=1e-3)


def test_the_state_is_not_kept_for_each_token():
    """The memory of a gradient, for 3072 tokens more: less than one state each."""
    width = 16

    def memory(length: int) -> int:
        x = jax.ShapeDtypeStruct((1, length, 1, width), jnp.float32)
        f = lambda *inputs: jnp.square(xla.forward(Static(), Operands(*inputs), 16)).sum()
        compiled = quick_jit(jax.grad(f, (0, 1, 2, 3))).lower(x, x, x, x).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert memory(4096) - memory(1024) < 3072 * width * width * 4
