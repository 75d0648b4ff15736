"""A few matrices at a time: how many, and that neither results nor what is mapped depend on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.checks.subject import quick_jit
from lra.models.kernels.softmax import Dropout, Window, attend, matrices
from lra.models.kernels.softmax.operands import Operands

from .oracle import problem


def operands(batch, length, heads):
    q = jax.ShapeDtypeStruct((batch, length, heads, 8), jnp.float32)
    return Operands(q, q, q, None, None, None, None)


@pytest.mark.parametrize(
    ("batch", "heads", "scores", "expected"),
    [
        (8, 4, 1 << 20, (1, 1)),
        (8, 4, 1 << 18, (1, 2)),
        (8, 4, 1 << 17, (1, 4)),
        (8, 4, 1 << 15, (4, 4)),
        (8, 4, 1 << 10, (8, 4)),
        (7, 3, 1 << 18, (1, 1)),
        (9, 3, 1 << 15, (3, 3)),
    ],
)
def test_as_many_as_the_cache_holds(batch, heads, scores, expected):
    assert matrices.at_a_time(operands(batch, 5, heads), scores) == expected


def test_results_do_not_depend_on_it(monkeypatch):
    """Also under vmap over some problems of one key each, where the mask is the same for all of them."""
    x = [jnp.stack([y, 2 * y, -y]) for y in problem(4, 21, 21, heads=6, value_dim=5)]
    mask = jnp.arange(21)[:, None] < jnp.array([21, 3, 0, 8])[:, None, None]
    keys = jax.random.split(jax.random.key(0), 3)

    def f(key, q, k, v, d_out, d_lse):
        run = lambda q, k, v: attend(q, k, v, mask=mask, pattern=Window(7, None), dropout=Dropout(0.3, key))
        (out, lse), back = jax.vjp(run, q, k, v)
        return out, lse, back((d_out, d_lse))

    expected = quick_jit(jax.vmap(f))(keys, *x)
    monkeypatch.setattr(matrices, "CACHE", 2 * 21 * 32)
    assert matrices.at_a_time(operands(12, 21, 6), 21 * 21) == (1, 3)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(jax.jit(jax.vmap(f))(keys, *x))):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


def test_few_scores_are_alive_on_a_cpu_and_accelerators_loop_over_nothing():
    x = jax.ShapeDtypeStruct((16, 256, 4, 8), jnp.float32)
    gradient = lambda: jax.jit(jax.grad(lambda x: attend(x, x, x)[0].sum()))
    compiled = gradient().lower(x).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 3 * 4 * matrices.CACHE + 4 * 4 * 16 * 256 * 4 * 8
    tpu = jax.sharding.AbstractMesh((), (), abstract_device=jax.sharding.AbstractDevice("TPU v5", 1, "tpu"))
    assert "scan[" in str(gradient().trace(x).jaxpr)
    with jax.sharding.use_abstract_mesh(tpu):
        assert "scan[" not in str(gradient().trace(x).jaxpr)
