"""Softmax attention by libraries, whose own XLA stands in for their kernels here: lengths, layout, scale, gradients."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.checks.subject import quick_jit
from lra.models.kernels.softmax import CAUSAL, FULL, Dropout, Window, attend, cudnn, tokamax

from .oracle import assert_close, oracle, problem

HAS_TOKAMAX = importlib.util.find_spec("tokamax") is not None


@pytest.fixture(params=["cudnn", pytest.param("tokamax", marks=pytest.mark.skipif(not HAS_TOKAMAX, reason="absent"))])
def library(request, monkeypatch):
    monkeypatch.setattr(cudnn, "IMPLEMENTATION", "xla")
    monkeypatch.setattr(tokamax, "IMPLEMENTATION", {"cpu": ("xla",)})
    return request.param


def results(q, k, v, d_out, backend, pattern, mask=None):
    out, back = jax.vjp(lambda *x: attend(*x, pattern=pattern, mask=mask, lse=False, backend=backend)[0], q, k, v)
    return out, *back(d_out)


@pytest.mark.parametrize(
    ("pattern", "queries", "keys"), [(FULL, 20, 33), (FULL, 33, 33), (CAUSAL, 33, 33)], ids=["masked", "full", "causal"]
)
def test_agrees_with_the_oracle(library, pattern, queries, keys):
    """With keys to the end, some, only in the middle, and none; the seeds are a mapped axis."""
    q, k, v, d_out, _ = (jnp.bfloat16(x) for x in problem(4, queries, keys))
    mask = None
    if queries < keys:
        mask = np.arange(keys) < np.array([keys, 7, keys, 0])[:, None]
        mask[2, [0, 1, 5, 30, 32]] = False
        k, v = (jnp.where(mask[..., None, None], x, 100) for x in (k, v))
        mask = mask[..., None]
    seeds = lambda x: x.reshape(2, 2, *x.shape[1:])
    run = quick_jit(jax.vmap(lambda *x: results(*x[:4], library, pattern, *x[4:])))
    parts = run(*map(seeds, (q, k, v, d_out, *([] if mask is None else [mask]))))
    out, *gradients = (jnp.float32(x.reshape(4, *x.shape[2:])) for x in parts)
    expected = oracle(q, k, v, d_out, pattern=pattern, mask=mask)
    assert_close([out, expected.lse, *gradients], expected, 2e-2)


def test_the_denominators_are_not_a_number_if_nobody_asked_for_them(library):
    q, k, v = (jnp.bfloat16(x) for x in problem(1, 3, 3)[:3])
    for backend in (library, "xla", "plain"):
        assert np.isnan(attend(q, k, v, lse=False, backend=backend)[1]).all()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (dict(dtype=jnp.float32), "float32: q, k and v must be bfloat16"),
        (dict(pattern=Window(1, 1)), "attention to all keys and causal"),
        (dict(pattern=CAUSAL, mask=np.ones((1, 4, 1), bool)), "a mask in causal attention"),
        (dict(mask=np.ones((1, 4, 2), bool)), "or of each head"),
        (dict(bias=np.zeros((4, 4), np.float32)), "bias: the library has none"),
        (dict(allowed=np.ones((4, 4), bool)), "allowed: the library has none"),
        (dict(dropout=Dropout(0.1, jax.random.key(0))), "dropout: the library has none"),
        (dict(lse=True), "no denominators with a gradient"),
        (dict(width=12), "a multiple of 8 up to 128"),
    ],
    ids=str,
)
def test_what_it_cannot_is_said(change, reason):
    q = jnp.zeros((1, 4, 2, change.get("width", 8)), change.get("dtype", jnp.bfloat16))
    options = {"lse": False} | {name: x for name, x in change.items() if name not in ("dtype", "width")}
    with pytest.raises(NotImplementedError, match=reason):
        attend(q, q, q, backend="cudnn", **options)


@pytest.mark.skipif(HAS_TOKAMAX, reason="tokamax is installed")
def test_without_tokamax():
    q = jnp.zeros((1, 4, 2, 8), jnp.bfloat16)
    with pytest.raises(NotImplementedError, match="No module named 'tokamax'"):
        attend(q, q, q, lse=False, backend="tokamax")
