"""The kernels for TPU, run by Pallas's interpreter, against the recurrence token by token."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.models.kernels.linear_attention import linear_attention, tpu

from ..where import at_edges, on
from .oracle import assert_close, oracle, problem

pytestmark = pytest.mark.interpreter

quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@pytest.fixture(autouse=True)
def _on_its_backend():
    with on("mosaic_tpu"):
        yield


class Case(NamedTuple):
    length: int
    kind: str
    causal: bool = True
    key_dim: int = 8
    value_dim: int = 8
    heads: int = 2
    dtype: Any = jnp.float32
    batch: int = 1


@functools.partial(quick_jit, static_argnames="causal")
def value_and_gradients(q, k, v, decay, dy, mask=None, causal=True):
    attend = lambda q, k, v, decay: linear_attention(q, k, v, mask, log_decay=decay, causal=causal)
    y, pull_back = jax.vjp(attend, q, k, v, decay)
    return y, *pull_back(dy)


@pytest.mark.parametrize(
    "case",
    [
        Case(1, "token"),
        Case(tpu.CHUNK + 3, "none", key_dim=5, value_dim=9, heads=3),
        Case(2 * tpu.CHUNK, "none", key_dim=256, value_dim=128, heads=4, dtype=jnp.bfloat16),  # two groups of heads
        Case(2 * tpu.CHUNK + 1, "token", causal=False, batch=2),
        Case(2 * tpu.CHUNK + 1, "channel", causal=False, heads=1),
        Case(tpu.CHUNK - 1, "constant", batch=2),
        Case(tpu.CHUNK + 1, "channels", batch=2, heads=1),
        Case(2 * tpu.CHUNK, "token", dtype=jnp.bfloat16),
        Case(tpu.CHUNK, "channel", dtype=jnp.bfloat16),
    ],
    ids=str,
)
def test_values_and_gradients(case):
    """Log-decays go from 0 to -200."""
    q, k, v, decay, dy = problem(case.length, case.kind, case.key_dim, case.value_dim, case.heads, batch=case.batch)
    q, k, v, dy = (jnp.asarray(x, case.dtype) for x in (q, k, v, dy))

    results = value_and_gradients(q, k, v, decay, dy, causal=case.causal)
    assert all(x.dtype == case.dtype for x in results[:4])
    tolerance = 1e-5 if case.dtype == jnp.float32 else 2e-2
    assert_close(results, oracle(q, k, v, decay, dy, causal=case.causal), tolerance)


def test_lengths_at_the_edges_of_chunks_in_one_batch():
    mask = at_edges(tpu.CHUNK)
    operands = problem(mask.shape[1], "token", 8, 8, 1, strongest=1.0, batch=len(mask))
    assert_close(value_and_gradients(*operands, mask), oracle(*operands, mask=mask))


def test_gradients_of_a_batch_of_calls():
    q, k, v, decay, dy = problem(20, "token", batch=4)
    split = lambda x: x.reshape(2, 2, *x.shape[1:])
    loss = lambda q, k, v, decay, dy: (linear_attention(q, k, v, causal=True, log_decay=decay) * dy).sum()
    gradients = quick_jit(jax.vmap(jax.grad(loss, (0, 1, 2, 3))))(*map(split, (q, k, v, decay, dy)))
    results = [x.reshape(4, *x.shape[2:]) for x in gradients]
    assert_close([None, *results], oracle(q, k, v, decay, dy))


@pytest.mark.parametrize(
    ("dim", "heads", "dtype", "reason"),
    [(257, 2, "float32", "257 dimensions"), (8, 2, "float16", "not float16"), (64, 9, "float32", "whole tiles")],
)
def test_what_it_cannot_is_said(dim, heads, dtype, reason):
    x = np.zeros((1, 8, heads, dim), dtype)
    with pytest.raises(NotImplementedError, match=reason):
        linear_attention(x, x, x, causal=True)
