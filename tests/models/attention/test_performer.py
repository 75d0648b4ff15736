"""performer: the estimate, and the directions that it draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import nnx

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal, quick_jit
from lra.models.attention.performer import orthogonal_gaussian
from lra.models.encoder import begin_step

from ..core import assert_equals_oracle, subject


@parametrize_with_checks(["performer"])
def test_is_what_it_says(check):
    check()


MASK = masks(12)


@pytest.mark.parametrize(("options", "lengths"), [({}, [1, 7]), ({"epsilon": 0.03}, [9]), ({"epsilon": 0.0}, [9])])
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("performer", features=6, **options), *lengths)


def core(name: str, **options):
    return subject(name, **options).module.core


def test_approaches_softmax_attention():
    q, k, v = normal(3, 6, 12, 3, 4)
    softmax, performer = core("transformer"), core("performer", features=4096)
    exact, uniform = (softmax(q * c, k * c, v, MASK) for c in (0.5, 0))
    error = lambda out: np.sqrt(np.mean(np.square(out - exact)[MASK]))
    assert error(performer(q / 2, k / 2, v, MASK)) < error(uniform) / 5


def test_survives_large_norms():
    """Exponents of -1000 underflow. Only the epsilon is left, so the output is the mean of the values."""
    q, k, v = normal(3, 6, 12, 3, 4)
    performer = core("performer", features=6)
    f = lambda q, k: performer(100 * q, 100 * k, v, MASK).sum()
    for x in jax.tree.leaves(quick_jit(jax.value_and_grad(f, (0, 1)))(q, k)):
        assert np.isfinite(x).all()


def test_directions_are_orthogonal_in_blocks():
    projection = np.float64(orthogonal_gaussian(jax.random.key(0), 6, 4))
    cosines = projection @ projection.T / np.outer(*[np.linalg.norm(projection, axis=1)] * 2)
    block = np.arange(6) // 4
    same = block[:, None] == block
    np.testing.assert_allclose(cosines[same], np.eye(6)[same], atol=1e-5)
    assert np.abs(cosines[~same]).min() > 1e-4


def test_directions_are_gaussian():
    """Norms chi-distributed and independent of each other; single entries normal; rotations without a preference."""
    blocks = np.float64(orthogonal_gaussian(jax.random.key(0), 8000, 4)).reshape(2000, 4, 4)
    norms = np.linalg.norm(blocks, axis=2)
    assert scipy.stats.kstest(norms.ravel(), scipy.stats.chi(4).cdf).pvalue > 1e-3
    assert np.abs(np.corrcoef(norms.T) - np.eye(4)).max() < 5 / np.sqrt(2000)
    assert np.abs(blocks.mean(0)).max() < 5 / np.sqrt(2000)
    for row, column in np.ndindex(4, 4):
        assert scipy.stats.kstest(blocks[:, row, column], "norm").pvalue > 1e-4


@pytest.mark.parametrize("every", [0, 3])
def test_redraws_at_multiples(every):
    performer, changed = core("performer", features=6, redraw_every=every), []
    redraw = nnx.jit(lambda performer, step: performer.redraw(jax.random.key(step), step))
    for step in range(7):
        before = performer.projection.get_value()
        redraw(performer, jnp.array(step))
        changed.append((performer.projection.get_value() != before).any())
    assert changed == [every > 0 and step % every == 0 for step in range(7)]


def test_redraws_for_many_seeds_at_once():
    s = subject("performer", features=6, redraw_every=2)

    def advance(rest, key, step):
        layers = s.layers(s.params, rest)
        begin_step(layers, jax.random.fold_in(key, step), step)
        return nnx.split(layers, nnx.Param, ...)[2]

    projection = lambda state: state[0]["core"]["projection"].get_value()
    keys = jax.random.split(jax.random.key(1), 3)
    rest = jax.tree.map(lambda x: jnp.stack([x] * 3), s.rest)
    one, all_of_them = quick_jit(advance), quick_jit(jax.vmap(advance, (0, 0, None)))
    for step in range(3):
        expected = [projection(one(jax.tree.map(lambda x, i=i: x[i], rest), keys[i], step)) for i in range(3)]
        before, rest = rest, all_of_them(rest, keys, step)
        old, new = projection(before), projection(rest)
        assert ((new == old) == (step == 1)).all()
        assert (new[0] != new[1]).all()
        np.testing.assert_allclose(new, np.stack(expected), rtol=1e-5, atol=1e-5)
