"""The kernel for Hopper, run by Pallas's interpreter, against the recurrence token by token."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.models.kernels.linear_attention import gpu_pass, linear_attention

from ..where import at_edges, interpret, on
from .oracle import assert_close, oracle, problem

pytestmark = pytest.mark.interpreter

CHUNK = gpu_pass.CHUNK


@pytest.fixture(autouse=True)
def _on_its_backend(monkeypatch):
    if interpret("mosaic_gpu"):
        monkeypatch.setattr(gpu_pass, "BLOCKS", 1)  # no more than it takes, for they run one after another
    with on("mosaic_gpu"):
        yield


class Case(NamedTuple):
    length: int
    kind: str
    causal: bool = True
    key_dim: int = 8
    value_dim: int = 8
    heads: int = 1
    batch: int = 1
    strongest: float = 200.0


def value_and_gradients(q, k, v, decay, dy, mask=None, causal=True):
    attend = lambda q, k, v, decay: linear_attention(q, k, v, mask, log_decay=decay, causal=causal)
    y, pull_back = jax.vjp(attend, q, k, v, decay)
    return y, *pull_back(dy)


def run(function, *operands, **static):
    return jax.jit(function, static_argnames=tuple(static))(*operands, **static)


def narrow(q, k, v, decay, dy):
    q, k, v, dy = (jnp.asarray(x, jnp.bfloat16) for x in (q, k, v, dy))
    return q, k, v, decay, dy


@pytest.mark.parametrize(
    "case",
    [
        Case(1, "none"),
        Case(CHUNK + 1, "none", key_dim=136, value_dim=72),  # three pieces of keys, two blocks of values
        Case(CHUNK - 1, "constant", heads=2, batch=2, strongest=1.0),
        Case(2 * CHUNK + 5, "token", causal=False, key_dim=20, batch=2),
        Case(CHUNK + 3, "channel", causal=False, key_dim=136),  # in two parts
        Case(2 * CHUNK, "channels", batch=2, strongest=0.1),
    ],
    ids=str,
)
def test_values_and_gradients(case):
    """Log-decays go from 0 to -strongest."""
    operands = narrow(*problem(case.length, case.kind, *case[3:6], case.strongest, case.batch))
    results = run(value_and_gradients, *operands, causal=case.causal)
    assert all(x.dtype == jnp.bfloat16 for x in results[:4])
    assert_close(results, oracle(*operands, causal=case.causal), 2e-2)


def test_lengths_at_the_edges_of_chunks_in_one_batch():
    mask = at_edges(CHUNK)
    operands = narrow(*problem(mask.shape[1], "token", 8, 8, 1, strongest=1.0, batch=len(mask)))
    assert_close(run(value_and_gradients, *operands, mask), oracle(*operands, mask=mask), 2e-2)


def test_decays_are_not_rounded_to_bfloat16():
    """What is left of the first token after 127 decays by 0.1003, which the nearest bfloat16 would make 2.6% more."""
    first = jnp.zeros((1, 2 * CHUNK, 1, 8), jnp.bfloat16).at[0, 0].set(1)
    decay = jnp.full((1, 1, 1, 8), -0.1003)
    y = run(lambda x, decay: linear_attention(jnp.ones_like(x), x, x, causal=True, log_decay=decay), first, decay)
    expected = 8 * np.exp(-0.1003 * np.arange(2 * CHUNK))
    np.testing.assert_allclose(np.float64(y[0, :, 0, 0]), expected, rtol=1e-2)


def test_a_mapped_axis_joins_the_batch():
    operands = narrow(*problem(20, "token", key_dim=8, value_dim=8, heads=1, batch=2))
    parts = run(jax.vmap(value_and_gradients), *(x[:, None] for x in operands))
    assert_close([x[:, 0] for x in parts], oracle(*operands), 2e-2)


@pytest.mark.parametrize(
    ("value_dim", "heads", "expected"),
    [
        (64, 132, (64, 1)),
        (64, 64, (32, 2)),
        (65, 132, (48, 2)),
        (128, 1000, (64, 2)),
        (8, 1, (16, 1)),
        (64, 1, (16, 4)),
    ],
)
def test_columns_of_blocks(value_dim, heads, expected, monkeypatch):
    """There are as many blocks as multiprocessors, or nearly, if 16 columns per block allow it."""
    monkeypatch.setattr(gpu_pass, "BLOCKS", 132)
    assert gpu_pass.columns_of_blocks(value_dim, 64, heads) == expected


@pytest.mark.parametrize(("dim", "dtype", "reason"), [(8, "float32", "TF32"), (257, "bfloat16", "256 dimensions")])
def test_what_it_cannot_is_said(dim, dtype, reason):
    x = jnp.zeros((1, 8, 1, dim), dtype)
    with pytest.raises(NotImplementedError, match=reason):
        linear_attention(x, x, x, causal=True)
