"""The public function: which tokens see which, what it divides by, and which backend computes it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.models.kernels import backends
from lra.models.kernels.linear_attention import linear_attention

from .oracle import BATCH, HEADS, assert_close, normal, oracle, problem

quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
LENGTH = 19


def value_and_gradients(*inputs, **options):
    @quick_jit
    def run(q, k, v, log_decay, dy):
        attend = lambda q, k, v, log_decay: linear_attention(q, k, v, log_decay=log_decay, **options)
        y, pull_back = jax.vjp(attend, q, k, v, log_decay)
        return y, *pull_back(dy)

    return run(*inputs)


@pytest.mark.parametrize("own_twice", [False, True])
@pytest.mark.parametrize("kind", ["constant", "token", "channel"])
def test_both_directions(kind, own_twice):
    inputs = problem(LENGTH, kind)
    out = value_and_gradients(*inputs, causal=False, own_twice=own_twice)
    assert_close(out, oracle(*inputs, causal=False, own_twice=own_twice))


def test_without_decay_every_query_sees_every_key():
    """The number of keys may differ from the number of queries."""
    q, k, v, _, dy = problem(LENGTH, "none")
    y, d_q, *_ = value_and_gradients(q[:, :5], k, v, None, dy[:, :5], causal=False)
    np.testing.assert_allclose(y, np.einsum("bqhd,bkhd,bkhe->bqhe", q[:, :5], k, v), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(d_q, np.einsum("bqhe,bkhe,bkhd->bqhd", dy[:, :5], v, k), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", ["none", "constant", "token", "channel"])
def test_padding_is_as_if_it_were_not_there(kind, causal):
    """The padding may stand anywhere; with a decay for all positions it counts as distance."""
    q, k, v, decay, _ = problem(LENGTH, kind, strongest=1.0)
    mask = np.random.default_rng(5).random((BATCH, LENGTH)) < 0.6
    y = quick_jit(functools.partial(linear_attention, causal=causal))(q, k, v, mask, log_decay=decay)
    if kind == "constant":
        expected = oracle(q, k * mask[..., None, None], v, decay, v, causal=causal).y
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
        return
    for row in range(BATCH):
        q_, k_, v_, decay_ = (None if x is None else x[row : row + 1, mask[row]] for x in (q, k, v, decay))
        expected = oracle(q_, k_, v_, decay_, v_, causal=causal).y
        np.testing.assert_allclose(y[row, mask[row]], expected[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_the_normaliser_divides_by_its_function_of_the_sums(causal):
    """Pair by pair; a query without a key gets 0, and its gradient is 0."""
    q, k, v = (np.exp(normal(2, 7, HEADS, 3, seed=n)) for n in range(3))
    mask = np.ones((2, 7), bool)
    mask[0, 2], mask[1] = False, False
    attend = functools.partial(
        linear_attention, mask=mask, causal=causal, normaliser=lambda sums: jnp.where(sums > 0, sums + 0.5, 1)
    )
    y, gradients = quick_jit(lambda *inputs: (attend(*inputs), jax.vjp(attend, *inputs)[1](inputs[-1])))(q, k, v)
    for b, i, h in np.ndindex(2, 7, HEADS):
        weights = [q[b, i, h] @ k[b, j, h] * mask[b, j] for j in range(i + 1 if causal else 7)]
        expected = sum(w * v[b, j, h] for j, w in enumerate(weights)) / (sum(weights) + 0.5)
        np.testing.assert_allclose(y[b, i, h], expected, rtol=1e-5, atol=1e-6)
    assert all(np.isfinite(x).all() and not x[1].any() for x in gradients)


@pytest.mark.parametrize("causal", [False, True])
def test_sums_are_in_float32(causal):
    """4097 is no bfloat16, and adding 1 to 256 in bfloat16 gives 256."""
    ones = jnp.ones((1, 4097, 1, 8), jnp.bfloat16)
    y = quick_jit(functools.partial(linear_attention, causal=causal))(ones / 8, ones, ones)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(y[0, -1]), 4097, rtol=2**-8)


def test_gradients_of_a_batch_of_calls():
    inputs = problem(LENGTH, "token", batch=6)
    split = lambda x: x.reshape(3, 2, *x.shape[1:])
    loss = lambda q, k, v, log_decay, dy: (linear_attention(q, k, v, causal=True, log_decay=log_decay) * dy).sum()
    gradients = quick_jit(jax.vmap(jax.grad(loss, (0, 1, 2, 3))))(*map(split, inputs))
    assert_close([None, *(x.reshape(6, *x.shape[2:]) for x in gradients)], oracle(*inputs))


def test_what_makes_no_sense_is_refused():
    q, k, v, decay, _ = problem(LENGTH, "token")
    for options in ({"causal": True, "log_decay": decay}, {"causal": False}):
        with pytest.raises(ValueError, match="own_twice"):
            linear_attention(q, k, v, own_twice=True, **options)
    with pytest.raises(ValueError, match="5 queries and 19 keys"):
        linear_attention(q[:, :5], k, v, causal=True)


def test_without_decay_all_keys_have_xla_only():
    q, k, v, _, _ = problem(LENGTH, "none")
    with backends.use("mosaic_tpu"), pytest.raises(NotImplementedError, match="of all keys to all queries"):
        linear_attention(q, k, v, causal=False)
