"""The encoder is LRA's to the parameter, equals a NumPy re-implementation, and sees no padding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lra.errors import UsageError
from lra.models.attention import VARIANTS
from lra.models.encoder import Classifier, EncoderConfig, begin_step, sinusoids
from lra.models.oracles.transformer import oracle

VOCAB, MAX_LENGTH, CLASSES = 11, 12, 3
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
every_variant = pytest.mark.parametrize("name", ["transformer", "performer", "luna"])


def config(**changes) -> EncoderConfig:
    small = {"layers": 2, "dim": 6, "heads": 2, "qkv_dim": 8, "mlp_dim": 10, "dropout": 0.5, "attention_dropout": 0.5}
    return EncoderConfig(**small | changes)


@functools.cache
def parts_of_classifier(name: str, changes: frozenset) -> tuple[nnx.GraphDef, nnx.State]:
    rngs = nnx.Rngs(params=0, dropout=1)
    options = VARIANTS[name].options(**VARIANTS[name].small)
    model = Classifier(config(**dict(changes)), VARIANTS[name], VOCAB, MAX_LENGTH, CLASSES, rngs, options)
    rng = np.random.default_rng(0)
    scatter = lambda x: x + np.float32(rng.normal(size=x.shape) / 3)
    nnx.update(model, jax.tree.map(scatter, nnx.state(model, nnx.Param)))
    model.eval()
    return nnx.split(model)


def classifier(name: str = "transformer", **changes) -> Classifier:
    """A classifier with random parameters. Parameters that begin as 0 or 1 would hide how they are used."""
    return nnx.merge(*parts_of_classifier(name, frozenset(changes.items())))


@functools.partial(quick_jit, static_argnums=0)
def logits(graph: nnx.GraphDef, state: nnx.State, tokens: jax.Array, lengths: jax.Array) -> jax.Array:
    return nnx.merge(graph, state)(tokens, lengths)


def run(model: Classifier, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return logits(*nnx.split(model), tokens, lengths)


def batch(length: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and lengths: full, one short, half, one token, none."""
    tokens = np.random.default_rng(1).integers(0, VOCAB, (5, length))
    return tokens, np.array([length, length - 1, length // 2, 1, 0])


# --- LRA's figures (google-research/long-range-arena issue 2, and its configurations counted by hand)

LISTOPS = {"layers": 4, "dim": 512, "heads": 8, "qkv_dim": 512, "mlp_dim": 1024, "pool": "cls"}
TEXT = {"layers": 4, "dim": 256, "heads": 4, "qkv_dim": 256, "mlp_dim": 1024, "pool": "cls"}
IMAGE = {"layers": 1, "dim": 128, "heads": 8, "qkv_dim": 64, "mlp_dim": 128, "pool": "cls", "positions": "learned"}
PATHFINDER = {"layers": 4, "dim": 32, "heads": 4, "qkv_dim": 16, "mlp_dim": 32, "pool": "mean"}
ONE_WIDE_LAYER = {"layers": 1, "dim": 128, "heads": 2, "qkv_dim": 64, "mlp_dim": 128}


@pytest.mark.parametrize(
    ("published", "name", "sizes", "vocab", "length", "classes"),
    [
        (8_948_746, "transformer", LISTOPS, 17, 2000, 10),
        (19_983_370, "transformer", LISTOPS | {"layers": 6, "mlp_dim": 2048}, 17, 2000, 10),
        (3_486_722, "transformer", TEXT, 257, 1000, 2),
        (52_266, "transformer", IMAGE | {"dim": 32, "heads": 1, "qkv_dim": 32, "mlp_dim": 64}, 256, 1024, 10),
        (248_458, "transformer", IMAGE, 256, 1024, 10),
        (248_458, "linear", IMAGE, 256, 1024, 10),
        (248_458, "performer", IMAGE, 256, 1024, 10),
        (248_202, "local", IMAGE | {"heads": 2, "pool": "mean"}, 256, 1024, 10),
        (264_858, "linformer", IMAGE, 256, 1024, 10),
        (26_530, "transformer", PATHFINDER, 256, 1024, 2),
        (26_530, "performer", PATHFINDER | {"heads": 8}, 256, 1024, 2),
        (116_098, "linear", PATHFINDER | ONE_WIDE_LAYER, 256, 1024, 2),
        (116_098, "performer", PATHFINDER | ONE_WIDE_LAYER | {"heads": 8}, 256, 1024, 2),
        (30_050, "linformer", PATHFINDER | {"layers": 1, "heads": 2}, 256, 1024, 2),
        (54_338, "local", PATHFINDER | {"layers": 2, "dim": 64, "qkv_dim": 32, "mlp_dim": 64}, 256, 1024, 2),
    ],
)
def test_parameters_are_as_many_as_published(published, name, sizes, vocab, length, classes):
    options = VARIANTS[name].options(**({"rank": 16} if name == "linformer" else {}))
    build = lambda: Classifier(EncoderConfig(**sizes), VARIANTS[name], vocab, length, classes, nnx.Rngs(0), options)
    params = nnx.state(nnx.eval_shape(build), nnx.Param)
    assert sum(x.size for x in jax.tree.leaves(params)) == published


# --- the same in NumPy, a row at a time and without its padding


def layer_norm(x, norm):
    scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return scaled * norm["scale"] + norm["bias"]


def dense(x, layer):
    return x @ layer["kernel"] + layer["bias"]


def gelu(x):
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def angles(length, dim):
    """Vaswani et al. 2017, section 3.5, entry by entry."""
    wave = lambda position, i: (np.cos if i % 2 else np.sin)(position / 10000 ** ((i - i % 2) / dim))
    return np.array([[wave(position, i) for i in range(dim)] for position in range(length)]).reshape(length, dim)


def attention(x, projections, heads):
    q, k, v = (np.stack(np.split(x @ projections[name]["kernel"], heads, 1), 1) for name in "qkv")
    out = oracle(q[None], k[None], v[None], np.ones((1, len(x)), bool), None)[0]
    return np.concatenate([out[:, head] for head in range(heads)], 1) @ projections["out"]["kernel"]


def logits_of_row(tokens, p, config):
    encoder = p["encoder"]
    x = encoder["embedding"]["embedding"][tokens]
    if config.pool == "cls":
        x = np.concatenate([encoder["cls"][None], x])
    if config.positions == "sinusoidal":
        x = x + angles(*x.shape)
    elif config.positions == "learned":
        x = x + encoder["positions"][: len(x)]
    for n in range(config.layers):
        block = encoder["blocks"][n]
        x = x + attention(layer_norm(x, block["norm_attention"]), block["attention"], config.heads)
        hidden = gelu(dense(layer_norm(x, block["norm_mlp"]), block["mlp"]["hidden"]))
        x = x + dense(hidden, block["mlp"]["out"])
    x = layer_norm(x, encoder["norm"])
    pooled = x[0] if config.pool == "cls" else x.sum(0) / max(len(x), 1)
    return dense(np.maximum(dense(pooled, p["hidden"]), 0), p["out"])


@pytest.mark.parametrize(
    ("pool", "positions"), [("mean", "sinusoidal"), ("cls", "sinusoidal"), ("cls", "learned"), ("mean", "none")]
)
def test_equals_numpy(pool, positions):
    model, (tokens, lengths) = classifier(pool=pool, positions=positions), batch()
    params = jax.tree.map(np.float64, nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    expected = [
        logits_of_row(row[:n], params, config(pool=pool, positions=positions)) for row, n in zip(tokens, lengths)
    ]
    np.testing.assert_allclose(run(model, tokens, lengths), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dim", [1, 6, 7])
def test_sinusoids(dim):
    np.testing.assert_allclose(sinusoids(50, dim), angles(50, dim), atol=1e-6)


# --- padding


@every_variant
@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_padding_changes_nothing(name, pool):
    model, (tokens, lengths) = classifier(name, layers=1, pool=pool), batch()
    out = run(model, tokens, lengths)
    assert np.isfinite(out).all()
    junk = np.where(np.arange(9) < lengths[:, None], tokens, (tokens + 1) % VOCAB)
    np.testing.assert_array_equal(run(model, junk, lengths), out)
    longer = np.concatenate([junk, tokens[:, :3]], 1)
    np.testing.assert_allclose(run(model, longer, lengths), out, rtol=1e-5, atol=1e-5)


@every_variant
def test_token_0_is_a_token_like_any_other(name):
    """LRA's own code takes pixel 0 for padding; here only the lengths decide."""
    model, (tokens, lengths) = classifier(name, layers=1), batch()
    zeros, ones, padded = tokens.copy(), tokens.copy(), lengths.copy()
    zeros[:, 8], ones[:, 8], padded[0] = 0, 1, 8
    out = run(model, zeros, lengths)
    assert np.abs(out - run(model, ones, lengths))[0].min() > 1e-4
    assert np.abs(out - run(model, zeros, padded))[0].min() > 1e-4
    np.testing.assert_array_equal(out[1:], run(model, ones, lengths)[1:])


@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_a_row_of_padding_has_finite_gradients(pool):
    graph, params, rest = nnx.split(classifier(layers=1, pool=pool), nnx.Param, ...)
    loss = lambda params: nnx.merge(graph, params, rest)(*batch()).sum()
    for x in jax.tree.leaves(quick_jit(jax.grad(loss))(params)):
        assert np.isfinite(x).all()


# --- memory


@pytest.mark.parametrize("name", ["transformer", "luna"])
def test_blocks_that_are_computed_again_give_the_same_gradients(name):
    """With dropout, and with what a layer hands to the next."""
    gradients = []
    for remat in (False, True):
        model = classifier(name, remat=remat)
        model.train()
        begin_step(model, jax.random.key(1), jnp.array(0))
        graph, params, rest = nnx.split(model, nnx.Param, ...)
        loss = lambda params, graph=graph, rest=rest: nnx.merge(graph, params, rest, copy=True)(*batch()).var()
        gradients.append(jax.tree.leaves(quick_jit(jax.grad(loss))(params)))
    for plain, again in zip(*gradients, strict=True):
        np.testing.assert_allclose(again, plain, rtol=1e-5, atol=1e-6)


def test_of_blocks_that_are_computed_again_their_inputs_are_kept():
    """A forward pass keeps for the backward pass: the tokens between blocks, and no more than that for each block."""
    kept = []
    for layers, remat in ((2, True), (3, True), (3, False)):
        graph, params, rest = nnx.split(classifier(layers=layers, remat=remat), nnx.Param, ...)
        call = lambda params, graph=graph, rest=rest: nnx.merge(graph, params, rest, copy=True)(*batch())
        residuals = jax.eval_shape(lambda params, call=call: jax.vjp(call, params)[1], params)
        kept.append(sum(x.size for x in jax.tree.leaves(residuals)) - sum(x.size for x in jax.tree.leaves(params)))
    tokens = 5 * 9 * config().dim
    assert kept[1] - kept[0] <= tokens < (kept[2] - kept[1]) / 3 / 8


# --- randomness


def drops(model: Classifier) -> np.ndarray:
    """What each dropout of the model keeps of 64 ones."""
    return np.array([m(jnp.ones((1, 64))) > 0 for _, m in nnx.iter_modules(model) if isinstance(m, nnx.Dropout)])


def test_dropout_is_off_in_evaluation():
    model, (tokens, lengths) = classifier(), batch()
    out = run(model, tokens, lengths)
    begin_step(model, jax.random.key(5), jnp.array(0))
    np.testing.assert_array_equal(run(model, tokens, lengths), out)
    assert drops(model).all()
    model.train()
    assert not drops(model).all()


@pytest.mark.parametrize("name", ["transformer", "performer"])
def test_a_step_is_a_function_of_its_key(name):
    model, (tokens, lengths) = classifier(name, layers=1), batch()
    model.train()
    graph, state = nnx.split(model)

    @quick_jit
    def step(state, key, step):
        model = nnx.merge(graph, state)
        begin_step(model, key, step)
        return model(tokens, lengths), nnx.state(model)

    first, used = step(state, jax.random.key(1), 0)
    np.testing.assert_array_equal(step(used, jax.random.key(1), 0)[0], first)  # whatever has been drawn before
    other = step(state, jax.random.key(2), 0)[0]
    assert (np.abs(other - first)[:3] > 1e-3).any(1).all()


def test_every_dropout_draws_its_own():
    model = classifier()
    model.train()
    begin_step(model, jax.random.key(1), jnp.array(0))
    masks = drops(model)
    assert len(masks) == 9  # attention, its output, twice the MLP: of two layers; and the embedding
    assert len(np.unique(masks, axis=0)) == 9
    begin_step(model, jax.random.key(2), jnp.array(0))
    assert len(np.unique([*masks, *drops(model)], axis=0)) == 18


def test_every_dropout_is_used():
    """Another key for one dropout alone changes the logits."""
    model, inputs = classifier(layers=1), batch()
    model.train()
    begin_step(model, jax.random.key(1), jnp.array(0))
    out, streams = run(model, *inputs), [m.rngs for _, m in nnx.iter_modules(model) if isinstance(m, nnx.Dropout)]
    assert len(streams) == 5
    for stream in streams:
        key = stream.key.get_value()
        stream.key.set_value(jax.random.key(2))
        assert np.abs(run(model, *inputs) - out).max() > 1e-3
        stream.key.set_value(key)
    np.testing.assert_array_equal(run(model, *inputs), out)


@pytest.mark.parametrize(("name", "drops"), [("transformer", True), ("linformer", True), ("linear", False)])
def test_attention_dropout_is_that_of_the_probabilities(name, drops):
    model, (tokens, lengths) = classifier(name, layers=1, dropout=0.0), batch()
    out = run(model, tokens, lengths)
    model.train()
    begin_step(model, jax.random.key(1), jnp.array(0))
    assert (np.abs(run(model, tokens, lengths) - out).max() > 1e-3) == drops


def test_performers_redraw_each_for_itself():
    model = classifier("performer")
    projections = lambda: np.array([block.attention.core.projection.get_value() for block in model.encoder.blocks])
    step, first = nnx.jit(begin_step), projections()
    step(model, jax.random.key(1), jnp.array(1))
    np.testing.assert_array_equal(projections(), first)
    step(model, jax.random.key(1), jnp.array(100))  # redraw_every
    second = projections()
    assert (second != first).all()
    assert (first[0] != first[1]).all()
    assert (second[0] != second[1]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 3}, r"encoder\.qkv_dim = 8 .* encoder\.heads = 3"),
        ({"pool": "clss"}, "did you mean 'cls'"),
        ({"positions": "rotary"}, "positions.*'rotary'"),
    ],
)
def test_impossible_sizes_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        config(**changes)


def test_a_model_of_one_seed_is_reseeded_too():
    config = EncoderConfig(layers=1, dim=8, heads=2, qkv_dim=8, mlp_dim=8, dropout=0.5)
    model = Classifier(config, VARIANTS["transformer"], 7, 16, 3, nnx.Rngs(0))
    tokens, lengths = np.ones((2, 16), int), np.array([16, 9])
    forward, logits = nnx.jit(lambda model: model(tokens, lengths)), []
    for key in (1, 1, 2):
        begin_step(model, jax.random.key(key), np.int32(0))
        logits.append(np.asarray(forward(model)))
    assert np.array_equal(logits[0], logits[1])
    assert not np.array_equal(logits[0], logits[2])


def test_more_tokens_than_the_model_was_built_for_are_refused():
    config = EncoderConfig(layers=1, dim=8, heads=2, qkv_dim=8, mlp_dim=8, positions="learned")
    model = Classifier(config, VARIANTS["linear"], 7, 16, 3, nnx.Rngs(0))
    with pytest.raises(UsageError, match="at most 16 tokens and got 17"):
        model(np.ones((1, 17), int), np.array([17]))


@pytest.mark.parametrize(
    "sizes", [{"heads": 0}, {"layers": -1}, {"dim": -4}, {"dropout": 1.0}, {"attention_dropout": -0.1}]
)
def test_sizes_and_rates_out_of_range_are_refused(sizes):
    with pytest.raises(UsageError, match=rf"encoder\.{next(iter(sizes))} = .* is not"):
        EncoderConfig(**sizes)
