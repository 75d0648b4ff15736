"""The kernel for Hopper, run by Pallas's interpreter, against the recurrence token by token."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.pallas.mosaic_gpu.interpret import gpu_callbacks

from lra.models.kernels import backends, mosaic_gpu
from lra.models.kernels.linear_attention import gpu_pass, linear_attention

from .oracle import assert_close, oracle, problem

CHUNK = gpu_pass.CHUNK


@pytest.fixture(autouse=True)
def _interpreted(monkeypatch):
    """With an eye on memory that is written while a copy, or another thread, may read it."""
    with_races = dataclasses.replace(mosaic_gpu.interpreted(), detect_races=True)
    monkeypatch.setattr(mosaic_gpu, "interpreted", lambda: with_races)
    monkeypatch.setattr(gpu_pass, "BLOCKS", 1)  # no more than it takes, for they run one after another
    with backends.use("mosaic_gpu", interpret=True):
        yield
    assert not gpu_callbacks.get_races().races_found


class Case(NamedTuple):
    length: int
    kind: str
    causal: bool = True
    key_dim: int = 8
    value_dim: int = 8
    heads: int = 1
    batch: int = 1
    strongest: float = 200.0


def value_and_gradients(q, k, v, decay, dy, causal=True):
    attend = lambda q, k, v, decay: linear_attention(q, k, v, log_decay=decay, causal=causal)
    y, pull_back = jax.vjp(attend, q, k, v, decay)
    return y, *pull_back(dy)


def compare(case: Case):
    q, k, v, decay, dy = problem(case.length, case.kind, *case[3:6], case.strongest, case.batch)
    q, k, v, dy = (jnp.asarray(x, jnp.bfloat16) for x in (q, k, v, dy))
    results = jax.jit(value_and_gradients, static_argnames="causal")(q, k, v, decay, dy, causal=case.causal)
    assert all(x.dtype == jnp.bfloat16 for x in results[:4])
    assert_close(results, oracle(q, k, v, decay, dy, causal=case.causal), 2e-2)


@pytest.mark.parametrize(
    "case",
    [
        Case(1, "token"),
        Case(CHUNK + 1, "none", key_dim=136, value_dim=72, heads=2),  # three pieces of keys, two blocks of values
        Case(2 * CHUNK + 5, "token", causal=False, key_dim=20, batch=2),
        Case(CHUNK - 1, "constant", causal=False, heads=2, batch=2),
        Case(CHUNK + 3, "channel", causal=False, key_dim=72),
        Case(CHUNK + 1, "channels", batch=2, strongest=1.0),
    ],
    ids=str,
)
def test_values_and_gradients(case):
    """Log-decays go from 0 to -200."""
    compare(case)
