"""The delta rule, against the recurrence token by token."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lra.models.kernels.backends import use
from lra.models.kernels.delta_rule import delta_rule, xla
from lra.models.kernels.delta_rule.op import OP
from lra.models.kernels.delta_rule.operands import Operands, Static

from .oracle import KINDS, oracle, problem

quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@functools.partial(quick_jit, static_argnames="chunk")
def value_and_gradients(*inputs, chunk=8):
    run = lambda *x: xla.forward(Static(), Operands(*x), chunk)
    y, pull_back = jax.vjp(run, *inputs[:-1])
    return y, *pull_back(inputs[-1])


def assert_close(found, expected):
    for name, x, exact in zip(expected._fields, found, expected):
        if x is not None:  # there is no gradient of decays without decays
            np.testing.assert_allclose(x, exact, rtol=1e-4, atol=2e-5 * max(1, abs(exact).max()), err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients(kind):
    inputs = problem(19, kind)
    assert_close(value_and_gradients(*inputs), oracle(*inputs))


@settings(max_examples=2, phases=[Phase.generate])
@given(
    length=st.integers(1, 40),
    dims=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kind=st.sampled_from(["none", "token"]),
)
def test_any_length_and_width(length, dims, kind):
    inputs = problem(length, kind, *dims)
    assert_close(value_and_gradients(*inputs), oracle(*inputs))


@pytest.mark.parametrize("kind", ["none", "channel"])
def test_thousands_of_tokens_in_the_chunks_that_are_used(kind):
    """With a beta of up to 2 nothing grows: each step is a reflection at most."""
    inputs = problem(2049, kind, strongest=0.01)
    assert_close(value_and_gradients(*inputs, chunk=xla.CHUNK), oracle(*inputs))


def test_orthogonal_keys_are_kept_as_linear_attention_keeps_them():
    """With beta 1 and a key of its own for each token, S is the sum of k v^T; a key's next value replaces its first."""
    k = jnp.tile(jnp.eye(8)[None, :, None], (1, 2, 1, 1))
    v = jnp.asarray(problem(16, "none", 8, batch=1, heads=1)[2])
    y = delta_rule(jnp.ones_like(k), k, v, jnp.ones((1, 16, 1)))
    np.testing.assert_allclose(y[:, :8], jnp.cumsum(v[:, :8], 1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(y[:, -1], v[:, 8:].sum(1), rtol=1e-5, atol=1e-5)


def test_beta_of_two_negates_what_the_key_holds():
    """The eigenvalue -1 that tells even from odd (Grazzi et al. 2024, 2411.12537)."""
    k, v = jnp.ones((1, 5, 1, 1)), jnp.array([1.0, 0, 0, 0, 0]).reshape(1, 5, 1, 1)
    beta = jnp.array([1.0, 2, 2, 2, 2]).reshape(1, 5, 1)
    np.testing.assert_allclose(delta_rule(k, k, v, beta).ravel(), [1, -1, 1, -1, 1], rtol=1e-6)


def test_padding_passes_the_state_on():
    """The tokens between which it stands get what they get without it."""
    q, k, v, beta, decay, _ = map(jnp.asarray, problem(24, "channel"))
    real = np.random.default_rng(0).uniform(size=(1, 24)) < 0.6
    mask = jnp.asarray(np.repeat(real, 2, 0))
    found = delta_rule(q, k, v, beta, mask, log_decay=decay)
    alone = [x[:, real[0]] for x in (q, k, v, beta, decay)]
    expected = delta_rule(*alone[:4], log_decay=alone[4])
    np.testing.assert_allclose(found[:, real[0]], expected, rtol=1e-5, atol=1e-6)


def test_nothing_is_written_with_beta_0():
    q, k, v, beta, *_ = map(jnp.asarray, problem(9, "none")[:4])
    assert not delta_rule(q, k, v, 0 * beta).any()


def test_bfloat16_is_summed_in_float32():
    q, k, v, beta, decay, dy = problem(300, "token", strongest=0.01)
    q, k, v = (jnp.bfloat16(x) for x in (q, k, v))
    y = xla.forward(Static(), Operands(q, k, v, jnp.asarray(beta), jnp.asarray(decay)))
    assert (y.dtype, delta_rule(q, k, v, beta).dtype) == (jnp.float32, jnp.bfloat16)
    np.testing.assert_allclose(
        y, oracle(*(np.asarray(x, np.float64) for x in (q, k, v)), beta, decay, dy).y, rtol=1e-4, atol=1e-3
    )


def test_the_state_is_not_kept_for_each_token():
    """The memory of a gradient, for 3072 tokens more: less than one state each."""
    width = 16

    def memory(length: int) -> int:
        x, beta = (jax.ShapeDtypeStruct((1, length, 1, *end), jnp.float32) for end in ((width,), ()))
        f = lambda *inputs: jnp.square(xla.forward(Static(), Operands(*inputs, None))).sum()
        compiled = quick_jit(jax.grad(f, (0, 1, 2, 3))).lower(x, x, x, beta).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert memory(4096) - memory(1024) < 3072 * width * width * 4


def test_a_kernel_that_does_not_exist_is_refused():
    with (
        use("mosaic_gpu"),
        pytest.raises(NotImplementedError, match="delta rule has no backend 'mosaic_gpu', only xla"),
    ):
        delta_rule(*map(jnp.asarray, problem(3, "none")[:4]))


def test_operands_of_a_proof_are_admitted():
    shapes = Operands(*(None if x is None else jax.ShapeDtypeStruct(x.shape, x.dtype) for x in problem(5, "token")[:5]))
    drawn = OP.draw(Static(), shapes, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(drawn.k, axis=-1), 1, rtol=1e-5)
    assert np.isfinite(OP.run("xla", Static(), drawn)).all()
