"""The operations that the variants stand on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.models.kernels import softmax
from lra.models.kernels.softmax import Dropout, pad_to_multiple

QUERIES, KEYS, HEADS = 5, 7, 2
attend = jax.jit(softmax.attend)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def problem(scale: float = 1.0):
    """q, k, v of two by three blocks, and which keys each query of each head may see: none for query 2."""
    q, k, v = (
        normal(2, 3, QUERIES, HEADS, 4),
        normal(2, 3, KEYS, HEADS, 4, seed=1),
        normal(2, 3, KEYS, HEADS, 6, seed=2),
    )
    allowed = np.random.default_rng(3).random((2, 3, HEADS, QUERIES, KEYS)) < 0.5
    allowed[..., 0] = True
    allowed[..., 2, :] = False
    return q * scale, k, v, allowed


def softmax_row(query, keys, values):
    """The output and the logarithm of the denominator of one query, in float64."""
    weights = np.exp(np.float64(keys) @ np.float64(query) / np.sqrt(len(query)))
    return weights @ values / weights.sum(), np.log(weights.sum())


def test_attend_row_by_row():
    q, k, v, allowed = problem()
    out, lse = attend(q, k, v, allowed)
    assert out.shape == (2, 3, QUERIES, HEADS, 6)
    assert lse.shape == (2, 3, QUERIES, HEADS)
    for a, b, i, h in np.ndindex(lse.shape):
        seen = allowed[a, b, h, i]
        expected = softmax_row(q[a, b, i, h], k[a, b, seen, h], v[a, b, seen, h]) if seen.any() else (0, -np.inf)
        np.testing.assert_allclose(out[a, b, i, h], expected[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(lse[a, b, i, h], expected[1], rtol=1e-5, atol=1e-6)


def test_attend_broadcasts_what_is_allowed():
    q, k, v, allowed = problem()
    out = attend(q, k, v, allowed[:1, :, :1, :1])[0]
    full = np.broadcast_to(allowed[:1, :, :1, :1], allowed.shape)
    np.testing.assert_array_equal(out, attend(q, k, v, full)[0])


def test_parts_merge_by_their_denominators():
    q, k, v, allowed = problem()
    parts = [attend(q, k[:, :, keys], v[:, :, keys], allowed[..., keys]) for keys in (slice(3), slice(3, None))]
    outs, denominators = (np.stack(x) for x in zip(*parts))
    whole, lse = attend(q, k, v, allowed)
    np.testing.assert_allclose(np.logaddexp(*denominators), lse, rtol=1e-5, atol=1e-6)
    shares = np.exp(denominators - np.where(np.isfinite(lse), lse, 0))
    np.testing.assert_allclose((shares[..., None] * outs).sum(0), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_attend_stays_finite(scale):
    """Also for logits of ten thousands, queries without a key, and their gradients through both results."""
    q, k, v, allowed = problem(scale)

    def total(q, k, v):
        out, lse = attend(q, k, v, allowed)
        return out.sum() + jnp.where(jnp.isfinite(lse), lse, 0).sum()

    value, gradient = jax.jit(jax.value_and_grad(total, (0, 1, 2)))(q, k, v)
    assert np.isfinite(value)
    assert all(np.isfinite(x).all() for x in gradient)
    assert not gradient[0][:, :, 2].any()


def test_attend_takes_the_greatest_logit_of_many_thousands():
    q, k, v = np.full((1, 1, 1, 1), 1e4, np.float32), normal(1, 6, 1, 1), normal(1, 6, 1, 3, seed=1)
    out, lse = attend(q, k, v, np.ones((1, 1, 1, 6), bool))
    best = k.argmax()
    np.testing.assert_array_equal(out[0, 0, 0], v[0, best, 0])
    np.testing.assert_allclose(lse[0, 0, 0], 1e4 * k[0, best, 0, 0], rtol=1e-6)


def test_sums_are_in_float32():
    """259 is no bfloat16: it would become 260."""
    ones, allowed = jnp.ones((1, 259, 1, 1), jnp.bfloat16), np.ones((1, 1, 1, 1), bool)
    lse = attend(ones[:, :1], ones, ones, allowed)[1]
    np.testing.assert_allclose(lse[0, 0, 0], 1 + np.log(259), rtol=1e-6)


@pytest.mark.parametrize(("length", "expected"), [(1, 4), (3, 4), (4, 4), (5, 8), (8, 8)])
def test_pad_to_multiple(length, expected):
    x = np.ones((2, length, 3))
    padded = pad_to_multiple(x, 4)
    assert padded.shape == (2, expected, 3)
    np.testing.assert_array_equal(padded[:, :length], x)
    assert not padded[:, length:].any()
    for axis in (1, -2):
        np.testing.assert_array_equal(pad_to_multiple(x, 4, axis), padded)
    mask = pad_to_multiple(np.ones((2, length), bool), 4)
    assert mask.dtype == bool
    assert (mask.sum(1) == length).all()


def test_dropout():
    x, key = jnp.full((200, 100), 2.0), jax.random.key(0)
    for off in (Dropout(), Dropout(0.5, None), Dropout(0.0, key), Dropout(0.5, None).fold_in(3)):
        np.testing.assert_array_equal(off(x), x)
    out = Dropout(0.25, key)(x)
    np.testing.assert_allclose(np.unique(out), [0, 2 / 0.75], rtol=1e-6)
    assert abs((out == 0).mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / x.size)
    np.testing.assert_array_equal(Dropout(0.25, key)(x), out)


def test_parts_of_dropout_are_independent():
    dropouts = [Dropout(0.5, jax.random.key(0))]
    dropouts += [dropouts[0].fold_in(i) for i in (0, 1, jnp.array(2))]
    kept = np.array([np.ravel(d(jnp.ones((100, 100)))) > 0 for d in dropouts])
    assert np.abs(np.corrcoef(kept) - np.eye(4)).max() < 5 / np.sqrt(10_000)


def test_a_bias_of_log_2_is_the_key_twice():
    q, k, v, allowed = problem()
    twice = lambda x, axis: jnp.concatenate([x, jnp.take(x, jnp.array([0]), axis)], axis)
    bias = jnp.where(jnp.arange(KEYS) == 0, jnp.log(2.0), 0.0)
    expected = attend(q, twice(k, 2), twice(v, 2), twice(allowed, 4))
    for out, other in zip(attend(q, k, v, allowed, bias=bias), expected):
        np.testing.assert_allclose(out, other, rtol=1e-5, atol=1e-6)
