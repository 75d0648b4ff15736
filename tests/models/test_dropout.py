"""Dropout of representations: what is kept, and that nothing else changes."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lra.models.dropout import Dropout


def test_drops_at_its_rate_and_keeps_the_mean():
    drop, x = Dropout(0.3, rngs=nnx.Rngs(dropout=0)), jnp.full((4, 500, 64), 2.0)
    y = np.asarray(drop(x))
    np.testing.assert_allclose(np.unique(y), [0, 2 / 0.7], rtol=1e-6)
    kept = y > 0
    assert abs(kept.mean() - 0.7) < 5 * (0.3 * 0.7 / kept.size) ** 0.5
    for axis, other in ((1, 2), (2, 1)):  # along tokens and channels, whose deviations would be a pattern's
        share = kept.mean(axis)
        assert abs(share - 0.7).max() < 6 * (0.3 * 0.7 / kept.shape[axis]) ** 0.5, other


def test_each_call_and_each_example_drop_otherwise_and_the_gradient_likewise():
    drop, x = Dropout(0.5, rngs=nnx.Rngs(dropout=0)), jnp.ones((3, 200, 64))
    kept = np.concatenate([np.asarray(drop(x)) > 0 for _ in range(2)]).reshape(6, -1)
    assert np.abs(np.corrcoef(kept) - np.eye(6)).max() < 5 / kept.shape[1] ** 0.5
    graph, state = nnx.split(drop)
    y, back = jax.vjp(lambda x: nnx.merge(graph, state, copy=True)(x), x)
    np.testing.assert_array_equal(back(x)[0], y)


def test_evaluation_drops_nothing():
    drop, x = Dropout(0.5, rngs=nnx.Rngs(dropout=0)), jnp.ones((2, 5, 3))
    drop.eval()
    assert drop(x) is x
    assert Dropout(0.0, rngs=nnx.Rngs(dropout=0))(x) is x
