"""Linear attention with decay, against the recurrence taken step by step in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.models.kernels.linear_attention import bidirectional_decayed_linear_attention, decayed_linear_attention

BATCH, HEADS, KEY, VALUE = 2, 2, 4, 3
CHUNK = 8

# the lengths: one token, less than a chunk, odd, and whole chunks
LENGTHS = pytest.mark.parametrize("length", [1, 5, 2 * CHUNK, 3 * CHUNK + 3])
# the shapes of log-decays: one a head, one a token, one a channel of each token or of all
DECAYS = {"constant": (1, 1, 1), "token": (BATCH, None, 1), "channel": (BATCH, None, KEY), "channels": (1, 1, KEY)}
KINDS = pytest.mark.parametrize("kind", DECAYS)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def problem(length: int, kind: str, strongest: float = 10.0):
    """q, k, v, and log-decays down to -strongest, many of them close to 0."""
    batch, tokens, channels = DECAYS[kind]
    shape = (batch, tokens or length, HEADS, channels)
    decay = -strongest * np.random.default_rng(3).random(shape).astype(np.float32) ** 4
    decay[:, ::5] = -strongest
    decay[:, 1::5] = 0
    q, k = normal(BATCH, length, HEADS, KEY), normal(BATCH, length, HEADS, KEY, seed=1)
    return q, k, normal(BATCH, length, HEADS, VALUE, seed=2), decay


def recurrence(q, k, v, log_decay):
    """y_i = S_i^T q_i, S_i = diag(exp(log_decay_i)) S_{i-1} + k_i v_i^T."""
    q, k, v, log_decay = map(np.float64, (q, k, v, log_decay))
    log_decay = np.broadcast_to(log_decay, q.shape)
    out = np.zeros(v.shape)
    state = np.zeros((*q.shape[:1], *q.shape[2:], v.shape[-1]))
    for i in range(q.shape[1]):
        state = np.exp(log_decay[:, i])[..., None] * state + k[:, i, :, :, None] * v[:, i, :, None, :]
        out[:, i] = (q[:, i, :, :, None] * state).sum(2)
    return out


def gradients_of_recurrence(q, k, v, log_decay, cotangent):
    """By central differences along one random direction of each argument."""
    inputs = [np.float64(x) for x in (q, k, v, log_decay)]
    for n, x in enumerate(inputs):
        direction = normal(*x.shape, seed=7 + n)
        up, down = (recurrence(*inputs[:n], x + step * direction, *inputs[n + 1 :]) for step in (1e-5, -1e-5))
        yield direction, (cotangent * (up - down)).sum() / 2e-5


quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@functools.partial(quick_jit, static_argnames="chunk")
def value_and_gradients(q, k, v, log_decay, cotangent, chunk=CHUNK):
    out, pull_back = jax.vjp(functools.partial(decayed_linear_attention, chunk=chunk), q, k, v, log_decay)
    return out, pull_back(cotangent)


@LENGTHS
@KINDS
def test_values_and_gradients(length, kind):
    inputs = problem(length, kind)
    cotangent = normal(BATCH, length, HEADS, VALUE, seed=5)
    out, gradients = value_and_gradients(*inputs, cotangent)
    np.testing.assert_allclose(out, recurrence(*inputs), rtol=1e-5, atol=1e-5)
    for gradient, (direction, slope) in zip(gradients, gradients_of_recurrence(*inputs, cotangent), strict=True):
        assert np.isfinite(gradient).all()
        assert abs((gradient * direction).sum() - slope) <= 1e-5 * (np.linalg.norm(gradient) + 1)


@pytest.mark.parametrize("kind", ["token", "channel"])
def test_a_sum_over_a_chunk_does_not_lose_the_small_decays(kind):
    """After decays by e^-10 a token, the differences of running sums would be off by 1e-4."""
    q, k, v, decay = problem(128, kind)
    decay[:, :60], decay[:, 60:64], decay[:, 64:] = -10, -1e-3, -1e-2
    out, _ = value_and_gradients(q, k, v, decay, v, chunk=64)
    np.testing.assert_allclose(out, recurrence(q, k, v, decay), rtol=2e-6, atol=1e-5)


@pytest.mark.parametrize("kind", ["token", "channel"])
def test_decays_that_underflow_leave_nothing_but_the_token_itself(kind):
    q, k, v, decay = problem(2 * CHUNK, kind)
    out, gradients = value_and_gradients(q, k, v, np.full_like(decay, -1e4), v)
    np.testing.assert_allclose(out, (q * k).sum(-1, keepdims=True) * v, rtol=1e-5, atol=1e-6)
    assert all(np.isfinite(x).all() for x in gradients)


@KINDS
def test_bfloat16_is_summed_in_float32(kind):
    q, k, v, decay = problem(300, kind, strongest=0.01)
    q, k, v = (jnp.bfloat16(x) for x in (q, k, v))
    out = quick_jit(decayed_linear_attention)(q, k, v, decay)
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(out, recurrence(*map(np.float32, (q, k, v)), decay), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("own_twice", [False, True])
@pytest.mark.parametrize("kind", ["constant", "token", "channel"])
def test_both_directions_over_the_real_tokens(kind, own_twice):
    """As if the padding, wherever it stands, had been cut out; with a decay for all positions, as if it were 0."""
    length = 2 * CHUNK + 3
    q, k, v, decay = problem(length, kind, strongest=1.0)
    mask = np.random.default_rng(4).random((BATCH, length)) < 0.6
    run = functools.partial(bidirectional_decayed_linear_attention, own_twice=own_twice, chunk=CHUNK)
    out = quick_jit(run)(q, k, v, decay, mask)
    for row in range(BATCH):
        kept = np.flatnonzero(mask[row])
        one = [x[row : row + 1][:, kept] for x in (q, k, v)]
        if kind == "constant":
            one = [q[row : row + 1], k[row : row + 1] * mask[row, :, None, None], v[row : row + 1]]
        rate = decay[row : row + 1][:, kept] if kind != "constant" else decay
        backward = recurrence(*(x[:, ::-1] for x in (*one, rate)))[:, ::-1]
        expected = recurrence(*one, rate) + backward
        if not own_twice:
            expected -= (one[0] * one[1]).sum(-1, keepdims=True) * one[2]
        expected = expected[0][kept] if kind == "constant" else expected[0]
        np.testing.assert_allclose(out[row, kept], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["constant", "channel"])
def test_the_state_is_not_kept_for_each_token(kind):
    """The memory of a gradient, for 3072 tokens more: less than one state each."""
    width = 16

    def memory(length: int) -> int:
        x = jax.ShapeDtypeStruct((1, length, 1, width), jnp.float32)
        decay = jax.ShapeDtypeStruct((1, 1, 1, 1) if kind == "constant" else x.shape, jnp.float32)
        f = lambda *inputs: jnp.square(decayed_linear_attention(*inputs, chunk=16)).sum()
        compiled = quick_jit(jax.grad(f, (0, 1, 2, 3))).lower(x, x, x, decay).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert memory(4096) - memory(1024) < 3072 * width * width * 4
