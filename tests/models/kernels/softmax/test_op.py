"""`attend` on any backend: axes, extreme values, and the merging of parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.checks.subject import normal, quick_jit
from lra.models.kernels import softmax
from lra.models.kernels.backends import use
from lra.models.kernels.softmax import Dropout, First, Window, merge

from .oracle import assert_close, oracle, problem

attend = quick_jit(softmax.attend, static_argnames=("pattern", "backend"))
by_each = pytest.mark.parametrize("backend", ["xla", "plain"])


@by_each
def test_leading_axes_and_broadcasts(backend):
    """[2, 3] problems are as each alone; what is allowed varies along the first axis, the bias along the second."""
    q, k, v, d_out, d_lse = (x.reshape(2, 3, *x.shape[1:]) for x in problem(6, 5, 7, value_dim=6))
    mask = np.random.default_rng(0).random((3, 7, 1)) < 0.8
    allowed = np.random.default_rng(1).random((2, 1, 1, 5, 7)) < 0.7
    bias = normal(3, 2, 1, 7)
    f = lambda *x: softmax.attend(*x[:3], mask=mask, allowed=allowed, bias=x[3], backend=backend)
    (out, lse), back = jax.vjp(f, q, k, v, bias)
    *gradients, d_bias = back((d_out, jnp.where(jnp.isneginf(lse), 0, d_lse)))
    expected_bias = np.zeros(bias.shape)
    for a, b in np.ndindex(2, 3):
        one = np.s_[a, b][:2]
        expected = oracle(
            *(x[one][None] for x in (q, k, v, d_out, d_lse)), mask=mask[b][None], allowed=allowed[a, 0], bias=bias[b]
        )
        assert_close((out[one], lse[one], *(x[one] for x in gradients)), expected)
        expected_bias[b] += expected.d_bias[0]
    np.testing.assert_allclose(d_bias, expected_bias, rtol=1e-4, atol=1e-5)


@by_each
def test_vmap_is_a_batch(backend):
    q, k, v = problem(4, 9, 9)[:3]
    mask, pattern = np.arange(9)[:, None] < np.array([9, 5, 1, 0])[:, None, None], Window(2, 2)
    f = lambda q, k, v, mask: softmax.attend(q, k, v, mask=mask, pattern=pattern, backend=backend)
    for x, y in zip(quick_jit(jax.vmap(f))(q, k, v, mask), attend(q, k, v, mask=mask, pattern=pattern)):
        np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-6)


@by_each
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_stays_finite(scale, backend):
    """Also for logits of ten thousands, queries without a key, and their gradients through both results."""
    q, k, v, d_out, d_lse = problem(2, 5, 7)
    allowed = np.random.default_rng(3).random((2, 2, 5, 7)) < 0.5
    allowed[..., 2, :] = False
    f = lambda q, k, v: softmax.attend(scale * q, k, v, allowed=allowed, backend=backend)
    (out, lse), gradients = quick_jit(lambda *x: (lambda y, back: (y, back((d_out, d_lse))))(*jax.vjp(f, *x)))(q, k, v)
    assert np.isneginf(lse[:, 2]).all()
    assert np.isfinite(np.delete(lse, 2, 1)).all()
    assert not out[:, 2].any()
    assert all(np.isfinite(x).all() for x in (out, *gradients))
    assert not gradients[0][:, 2].any()


@by_each
def test_the_greatest_logit_of_many_thousands(backend):
    q, k, v = np.full((1, 1, 1, 1), 1e4, np.float32), normal(1, 6, 1, 1), normal(1, 6, 1, 3, seed=1)
    out, lse = attend(q, k, v, backend=backend)
    best = k.argmax()
    np.testing.assert_array_equal(out[0, 0, 0], v[0, best, 0])
    np.testing.assert_allclose(lse[0, 0, 0], 1e4 * k[0, best, 0, 0], rtol=1e-6)


@by_each
def test_sums_are_in_float32(backend):
    """259 is no bfloat16: it would become 260."""
    ones = jnp.ones((1, 259, 1, 1), jnp.bfloat16)
    np.testing.assert_allclose(attend(ones[:, :1], ones, ones, backend=backend)[1][0, 0, 0], 1 + np.log(259), rtol=1e-6)


def test_without_keys_queries_or_width():
    q, k, v = problem(2, 5, 7)[:3]
    out, lse = attend(q, k[:, :0], v[:, :0])
    assert not out.any()
    assert np.isneginf(lse).all()
    assert attend(q[:, :0], k, v)[0].shape == (2, 0, 2, 8)
    np.testing.assert_allclose(
        attend(q[..., :0], k[..., :0], v)[0], np.repeat(v.mean(1, keepdims=True), 5, 1), rtol=1e-5
    )


def test_a_bias_of_log_2_is_the_key_twice():
    q, k, v = problem(2, 5, 7)[:3]
    twice = lambda x: np.concatenate([x, x[:, :1]], 1)
    bias = np.where(np.arange(7) == 0, np.log(2.0), 0.0).astype(np.float32)[None, None]
    for out, other in zip(attend(q, k, v, bias=bias), attend(q, twice(k), twice(v))):
        np.testing.assert_allclose(out, other, rtol=1e-5, atol=1e-6)


def test_other_keys_drop_otherwise_and_each_example():
    q, v = jnp.zeros((2, 40, 3, 1)), jnp.broadcast_to(jnp.eye(40)[None, :, None], (2, 40, 3, 40))
    dropout = Dropout(0.5, jax.random.key(0))
    probabilities = [softmax.attend(q, q, v, dropout=d)[0] for d in (dropout, dropout.fold_in(1))]
    np.testing.assert_allclose(np.unique(probabilities), [0, 2 / 40], rtol=1e-6)
    kept = (np.array(probabilities) > 0).transpose(0, 1, 3, 2, 4).reshape(12, -1)
    assert np.abs(np.corrcoef(kept) - np.eye(12)).max() < 5 / 40


def test_parts_with_disjoint_keys_merge_into_one_softmax():
    q, k, v, d_out, _ = problem(3, 7, 7)
    seen = np.random.default_rng(1).random((3, 7)) < [[1.1], [0.5], [0.0]]
    allowed = seen[:, None, None, :] & (np.random.default_rng(2).random((3, 2, 7, 7)) < 0.7)
    part_of = np.random.default_rng(3).integers(3, size=(7, 7))

    def merged(q, k, v):
        return merge([softmax.attend(q, k, v, allowed=allowed & (part_of == part)) for part in range(3)])

    out, gradients = quick_jit(lambda *x: (lambda y, back: (y, back(d_out)))(*jax.vjp(merged, *x)))(100 * q, k, v)
    expected = oracle(100 * q, k, v, d_out, allowed=allowed)._replace(lse=np.zeros(0))
    assert_close((out, np.zeros(0), *gradients), expected, 1e-4)
    assert not out[2].any()


def test_disjoint_patterns_merge():
    q, k, v = problem(2, 30, 30)[:3]
    parts = [attend(q, k, v, pattern=pattern) for pattern in (Window(3, 3) & ~First(2), First(2))]
    np.testing.assert_allclose(merge(parts), attend(q, k, v, pattern=Window(3, 3) | First(2))[0], rtol=1e-5, atol=1e-6)


def test_a_backend_that_is_none():
    q, k, v = problem(1, 3, 3)[:3]
    with pytest.raises(ValueError, match="backend 'cuda' is none of xla"):
        softmax.attend(q, k, v, backend="cuda")
    with use("xla"):
        assert softmax.attend(q, k, v)[0].shape == q.shape
