"""Variants at their limits, in low precision, and in what they draw at random."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import nnx

from lra.errors import UsageError
from lra.models.attention import VARIANTS, Shape
from lra.models.attention.performer import orthogonal_gaussian
from lra.models.encoder import begin_step
from lra.models.kernels.softmax import Dropout

from . import oracles
from .core import Core, core_of, every_variant, normal, quick_jit, rows, small


@pytest.mark.parametrize("segment", [12, 13, 50])
def test_dilated_with_one_scale_is_softmax_attention(segment):
    mask, inputs = rows(12), normal(3, 6, 12, 3, 4)
    out = core_of("dilated", 12, segment=segment)(mask, *inputs)
    np.testing.assert_allclose(out, small("transformer")(mask, *inputs), rtol=1e-5, atol=1e-6)


def test_performer_approaches_softmax_attention():
    mask, (q, k, v) = rows(12)[:3], normal(3, 3, 12, 3, 4)
    exact, uniform = (oracles.transformer(q * c, k * c, v, mask) for c in (0.5, 0))
    out = core_of("performer", 12, features=4096)(mask, q / 2, k / 2, v)
    error = lambda out: np.sqrt(np.mean(np.square(out - exact)[mask]))
    assert error(out) < error(uniform) / 5


def test_performer_survives_large_norms():
    """Exponents of -1000 underflow; what is left of them is the epsilon, and so the mean of the values."""
    mask, (q, k, v) = rows(12), normal(3, 6, 12, 3, 4)
    core = small("performer")
    f = lambda q, k: core.f(mask, 100 * q, 100 * k, v).sum()
    for x in jax.tree.leaves(quick_jit(jax.value_and_grad(f, (0, 1)))(q, k)):
        assert np.isfinite(x).all()


def test_performer_directions_are_orthogonal_in_blocks():
    projection = np.float64(orthogonal_gaussian(jax.random.key(0), 6, 4))
    cosines = projection @ projection.T / np.outer(*[np.linalg.norm(projection, axis=1)] * 2)
    block = np.arange(6) // 4
    same = block[:, None] == block
    np.testing.assert_allclose(cosines[same], np.eye(6)[same], atol=1e-5)
    assert np.abs(cosines[~same]).min() > 1e-4


def test_performer_directions_are_gaussian():
    """Norms chi-distributed and independent of each other; single entries normal; rotations without a preference."""
    blocks = np.float64(orthogonal_gaussian(jax.random.key(0), 8000, 4)).reshape(2000, 4, 4)
    norms = np.linalg.norm(blocks, axis=2)
    assert scipy.stats.kstest(norms.ravel(), scipy.stats.chi(4).cdf).pvalue > 1e-3
    assert np.abs(np.corrcoef(norms.T) - np.eye(4)).max() < 5 / np.sqrt(2000)
    assert np.abs(blocks.mean(0)).max() < 5 / np.sqrt(2000)
    for row, column in np.ndindex(4, 4):
        assert scipy.stats.kstest(blocks[:, row, column], "norm").pvalue > 1e-4


@pytest.mark.parametrize("every", [0, 3])
def test_performer_redraws_at_multiples(every):
    core, changed = Core("performer", Shape(12, 12, 3, 4), features=6, redraw_every=every).module, []
    redraw = nnx.jit(lambda core, step: core.redraw(jax.random.key(step), step))
    for step in range(7):
        before = core.projection.get_value()
        redraw(core, jnp.array(step))
        changed.append((core.projection.get_value() != before).any())
    assert changed == [every > 0 and step % every == 0 for step in range(7)]


def test_performer_redraws_for_many_seeds_at_once():
    build = lambda key: Core("performer", Shape(12, 12, 3, 4), key, features=6, redraw_every=2).module

    def advance(state, key, step):
        core = nnx.merge(graph, state)
        begin_step(core, jax.random.fold_in(key, step), step)
        return nnx.state(core)

    keys = jax.random.split(jax.random.key(1), 3)
    graph = nnx.graphdef(build(keys[0]))
    state = quick_jit(jax.vmap(lambda key: nnx.state(build(key))))(keys)
    one, all_of_them = quick_jit(advance), quick_jit(jax.vmap(advance, (0, 0, None)))
    for step in range(3):
        expected = [one(jax.tree.map(lambda x, i=i: x[i], state), keys[i], step)["projection"] for i in range(3)]
        before, state = state, all_of_them(state, keys, step)
        old, new = before["projection"].get_value(), state["projection"].get_value()
        assert ((new == old) == (step == 1)).all()
        assert (new[0] != new[1]).all()
        np.testing.assert_allclose(new, np.stack([x.get_value() for x in expected]), rtol=1e-5, atol=1e-5)


def test_linformer_refuses_more_than_it_was_built_for():
    with pytest.raises(UsageError, match=r"linformer.* 8 .* 9"):
        core_of("linformer", 8, rank=3)(rows(9), *normal(3, 6, 9, 3, 4))


@pytest.mark.parametrize(
    ("name", "options"),
    [("linformer", {"share": "layerwise"}), ("dilated", {"segment": 0}), ("dilated", {"ratio": 1})],
)
def test_impossible_options_are_refused(name, options):
    with pytest.raises(UsageError, match=rf"{name}\.{next(iter(options))}"):
        core_of(name, 8, **options)


@every_variant
def test_bfloat16(name):
    mask, inputs = rows(12), jnp.bfloat16(normal(3, 6, 12, 3, 4))
    core = small(name)
    out = core(mask, *inputs)
    assert out.dtype == jnp.bfloat16
    exact = core.oracle(mask, *np.float64(inputs), *map(np.float64, core.weights))
    np.testing.assert_allclose(np.float64(out)[mask], exact[mask], rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("name", ["transformer", "local", "linformer", "dilated"])
def test_attention_dropout_keeps_the_mean(name):
    mask, inputs = rows(6)[:2], normal(3, 2, 6, 3, 4)
    core = small(name)
    dropped = lambda key: core.f(mask, *inputs, *core.weights, dropout=Dropout(0.3, key))
    outs = quick_jit(jax.vmap(dropped))(jax.random.split(jax.random.key(0), 500))
    error, deviation = outs.mean(0) - core(mask, *inputs), outs.std(0) / np.sqrt(500)
    assert (deviation[mask] > 0).all()
    assert (np.abs(error) <= 5 * deviation + 1e-5)[mask].all()


def test_transformer_drops_anew_in_every_part():
    """With all logits equal, the same mask for two parts would make their outputs equal."""
    v, mask = normal(1, 1024, 1, 4), np.ones((1, 1024), bool)
    dropout = Dropout(0.5, jax.random.key(0))
    out = VARIANTS["transformer"].make(0 * v, 0 * v, v, mask, dropout=dropout)[0]
    assert (out[:512] != out[512:]).all()
