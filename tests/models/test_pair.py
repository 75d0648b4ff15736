"""The pair model: one encoder for both documents, and LRA's head, again in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lra.errors import UsageError
from lra.models.attention import VARIANTS
from lra.models.encoder import EncoderConfig
from lra.models.pair import PairClassifier, PairConfig

CONFIG = EncoderConfig(layers=1, dim=8, heads=2, qkv_dim=8, mlp_dim=12, dropout=0.0, attention_dropout=0.0, pool="mean")
LENGTH, VOCAB = 9, 11


def model(interaction: str, **changes) -> PairClassifier:
    config = EncoderConfig(**{**vars(CONFIG), **changes})
    built = PairClassifier(
        config, PairConfig(interaction), VARIANTS["transformer"], VOCAB, LENGTH, 2, nnx.Rngs(params=0, dropout=1)
    )
    built.eval()
    return built


@pytest.fixture
def pairs():
    rng = np.random.default_rng(0)
    return jnp.array(rng.integers(0, VOCAB, (5, 2, LENGTH))), jnp.array(rng.integers(1, LENGTH + 1, (5, 2)))


@pytest.mark.parametrize("interaction", ["concat", "nli"])
def test_head_in_numpy(interaction, pairs):
    tokens, lengths = pairs
    built = model(interaction)
    a, b = (np.asarray(built.encoder(tokens[:, side], lengths[:, side]), np.float64) for side in (0, 1))
    x = np.concatenate([a, b] if interaction == "concat" else [a, b, a * b, a - b], axis=1)
    for layer in (built.hidden, built.half, built.out):
        if layer is not built.hidden:
            x = np.maximum(x, 0)
        x = x @ np.asarray(layer.kernel.get_value(), np.float64) + np.asarray(layer.bias.get_value(), np.float64)
    np.testing.assert_allclose(built(tokens, lengths), x, atol=1e-5)


def test_the_documents_are_told_apart_and_padding_is_not_read(pairs):
    tokens, lengths = pairs
    built = model("concat")
    logits = built(tokens, lengths)
    assert np.abs(built(tokens[:, ::-1], lengths[:, ::-1]) - logits).max() > 1e-3
    padding = jnp.arange(LENGTH) >= lengths[..., None]
    np.testing.assert_allclose(built(jnp.where(padding, 7, tokens), lengths), logits, atol=1e-6)


def test_both_documents_go_through_one_encoder():
    built = model("nli")
    params = nnx.state(built, nnx.Param)
    rows = {leaf.shape for leaf in jax.tree.leaves(params) if leaf.shape and leaf.shape[0] == VOCAB}
    assert rows == {(VOCAB, CONFIG.dim)}
    assert sum(leaf.shape == (VOCAB, CONFIG.dim) for leaf in jax.tree.leaves(params)) == 1
    same = jnp.ones((1, 2, LENGTH), jnp.int32)
    vectors = built.encoder(same.reshape(2, LENGTH), jnp.full(2, LENGTH))
    np.testing.assert_array_equal(vectors[0], vectors[1])


def test_first_token_is_read_where_lra_says_cls(pairs):
    """No token is put before the document: the vector of its first token is used."""
    tokens, lengths = pairs
    built = model("concat", pool="first", layers=0)
    vectors = built.encoder(tokens[:, 0], lengths[:, 0])
    changed = built.encoder(tokens[:, 0].at[:, 1:].set(3), lengths[:, 0])
    np.testing.assert_array_equal(vectors, changed)  # without attention, only the first token counts
    assert np.abs(vectors - built.encoder(tokens[:, 0].at[:, 0].set(10), lengths[:, 0])).max() > 1e-3
    assert built.encoder.cls is None


def test_unknown_interaction_is_refused():
    with pytest.raises(UsageError, match="did you mean 'concat'"):
        PairConfig("concta")
