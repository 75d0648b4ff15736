"""A few heads of a few examples at a time: how many, and that nothing else depends on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.checks.subject import normal, quick_jit
from lra.models.kernels import turns
from lra.models.kernels.softmax import Dropout, Window, attend


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
    assert turns.at_a_time((batch, heads), scores) == expected


def test_attention_does_not_depend_on_it(monkeypatch):
    """Also under vmap, where the mask is the same for all problems."""
    q, k, v, d_out = (normal(3, 4, 21, 6, 5, seed=seed) for seed in range(4))
    mask = jnp.arange(21)[:, None] < jnp.array([21, 3, 0, 8])[:, None, None]
    keys = jax.random.split(jax.random.key(0), 3)

    def f(key, q, k, v, d_out):
        run = lambda q, k, v: attend(q, k, v, mask=mask, pattern=Window(7, None), dropout=Dropout(0.3, key))[0]
        out, back = jax.vjp(run, q, k, v)
        return out, back(d_out)

    expected = quick_jit(jax.vmap(f))(keys, q, k, v, d_out)
    monkeypatch.setattr(turns, "CACHE", 3 * 21 * 32)
    assert turns.at_a_time((4, 6), 21 * 32) == (1, 3)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(jax.jit(jax.vmap(f))(keys, q, k, v, d_out))):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("most", [1, 30, 60])
def test_a_function_is_recomputed_for_its_gradient(monkeypatch, most):
    """By x alone. What is beside it has one head for all of them, and what is shared differs under vmap."""
    x, dy, shared = normal(2, 4, 5, 3, 2), normal(2, 4, 5, 3, 2, seed=1), normal(2, 2, 2, seed=2)
    beside = normal(4, 5, 1, 2, seed=3)
    f = lambda x, beside, shared: jnp.tanh(jnp.cumsum(x, 1) * beside) @ shared

    def both(run, x, dy, shared):
        out, back = jax.vjp(lambda x: run(x, beside, shared), x)
        return out, back(dy)[0]

    expected = jax.vmap(lambda *args: both(f, *args))(x, dy, shared)
    monkeypatch.setattr(turns, "CACHE", most)
    monkeypatch.setattr(turns, "platform", lambda: "cpu")
    own = quick_jit(jax.vmap(lambda *args: both(lambda *a: turns.recomputed_in_turn(f, 10, *a), *args)))(x, dy, shared)
    for a, b in zip(expected, own):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


def test_few_numbers_are_alive_on_a_cpu_and_accelerators_loop_over_nothing():
    x = jax.ShapeDtypeStruct((16, 256, 4, 8), jnp.float32)
    gradient = lambda: jax.jit(jax.grad(lambda x: attend(x, x, x)[0].sum()))
    cpu, tpu = (
        jax.sharding.AbstractMesh((), (), abstract_device=jax.sharding.AbstractDevice(name, 1, name))
        for name in ("cpu", "tpu")
    )
    with jax.sharding.use_abstract_mesh(cpu):
        assert "scan[" in str(gradient().trace(x).jaxpr)
    with jax.sharding.use_abstract_mesh(tpu):
        assert "scan[" not in str(gradient().trace(x).jaxpr)
    if jax.default_backend() == "cpu":
        alive = gradient().lower(x).compile().memory_analysis().temp_size_in_bytes
        assert alive < 4 * (3 * turns.CACHE + 4 * 16 * 256 * 4 * 8), "all scores would be eight times CACHE"
