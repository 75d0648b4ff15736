"""Every variant is what its paper says, ignores padding and neighbours, and needs memory linear in the length."""

import functools
import inspect
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import nnx
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lra.errors import UsageError
from lra.models.attention import VARIANTS, Shape
from lra.models.attention.performer import orthogonal_gaussian
from lra.models.encoder import begin_step
from lra.models.kernels.softmax import Dropout

from . import oracles

# small enough that a dozen tokens cross several windows, segments and mixtures
SMALL = {
    "transformer": {},
    "local": {"radius": 2},
    "linear": {},
    "performer": {"features": 6},
    "linformer": {"rank": 3, "share": "headwise"},
    "dilated": {"segment": 4},
}
# large enough that it is the length that decides about memory
LARGE = {"local": {"radius": 16}, "performer": {"features": 32}, "linformer": {"rank": 32}, "dilated": {"segment": 512}}

# compiles in half the time
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
every_variant = pytest.mark.parametrize("name", SMALL)


class Core:
    """A variant as a function of (mask, q, k, v, *weights), and its oracle likewise."""

    def __init__(self, name: str, shape: Shape, key: int | jax.Array = 0, **options):
        self.name, self.shape, self.options = name, shape, options
        make = VARIANTS[name].make
        self.module = make(shape, **options, rngs=nnx.Rngs(params=key)) if inspect.isclass(make) else None
        if self.module is None:
            self.weights, self.f = [], lambda mask, q, k, v, **more: make(q, k, v, mask, **options, **more)
        else:
            graph, weights, rest = nnx.split(self.module, nnx.Param, ...)
            self.weights, tree = jax.tree.flatten(weights)
            self.f = lambda mask, q, k, v, *weights, **more: nnx.merge(graph, tree.unflatten(weights), rest)(
                q, k, v, mask, **more
            )
        self.compiled = quick_jit(self.f)

    def __call__(self, mask, q, k, v):
        return self.compiled(mask, q, k, v, *self.weights)

    def oracle(self, mask, q, k, v, *weights):
        more = dict(self.options)
        if self.name == "dilated":
            more = {"ratio": 2, "max_length": self.shape.max_length} | more
        elif self.name == "performer":
            projection = np.asarray(self.module.projection.get_value(), float)
            more = {"projection": projection, "epsilon": more.get("epsilon", 1e-6)}
        elif self.name == "linformer":
            more = {"e": weights[0], "f": weights[-1]}
        return getattr(oracles, self.name)(q, k, v, mask, **more)


@functools.cache
def core_of(name: str, max_length: int, heads: int = 3, head_dim: int = 4, **options) -> Core:
    return Core(name, Shape(heads * head_dim, heads * head_dim, heads, max_length), **options)


def small(name: str) -> Core:
    return core_of(name, 16, **SMALL[name])


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def rows(length: int) -> np.ndarray:
    """Masks: a full row, one short of it, a half, one token, none, and one with holes."""
    counts = np.array([length, max(length - 1, 1), (length + 1) // 2, 1, 0])
    holes = np.random.default_rng(length).random((1, length)) < 0.6
    holes[0, -1] = True
    return np.concatenate([np.arange(length) < counts[:, None], holes])


def check_against_oracle(core: Core, mask: np.ndarray) -> None:
    """Values at the real queries, and the gradient along random directions of every input and weight.

    A random direction meets an error of the gradient with all of its norm, wherever the error is.
    """
    rng = np.random.default_rng(1)
    inputs = [rng.normal(size=(*mask.shape, core.shape.heads, core.shape.head_dim)) for _ in "qkv"]
    inputs = [np.float32(x) for x in (*inputs, *core.weights)]
    cotangent = np.float32(rng.normal(size=inputs[0].shape) * mask[..., None, None])

    @quick_jit
    def value_and_gradient(mask, inputs, cotangent):
        out, pull_back = jax.vjp(functools.partial(core.f, mask), *inputs)
        return out, pull_back(cotangent)

    out, gradient = value_and_gradient(mask, inputs, cotangent)
    oracle, exact = functools.partial(core.oracle, mask), [np.float64(x) for x in inputs]
    np.testing.assert_allclose(out[mask], oracle(*exact)[mask], rtol=1e-5, atol=1e-5)
    for which, part in enumerate(np.float64(x) for x in gradient):
        for _ in range(2):
            directions = [rng.normal(size=x.shape) * (n == which) for n, x in enumerate(exact)]
            expected = (cotangent * oracles.derivative(oracle, exact, directions)).sum()
            error = (part * directions[which]).sum() - expected
            assert abs(error) <= 1e-5 * np.linalg.norm(part) + 1e-6 * np.linalg.norm(cotangent), which


FORMULAS = [  # variant, its options, max_length if not the length, lengths
    ("transformer", {}, None, [1, 7]),
    ("local", {"radius": 3}, None, [1, 2, 12, 13]),
    ("local", {"radius": 0}, None, [4]),
    ("local", {"radius": 20}, None, [7]),
    ("linear", {}, None, [1, 7]),
    ("performer", {"features": 6}, None, [1, 7]),
    ("performer", {"features": 6, "epsilon": 0.03}, None, [9]),
    ("performer", {"features": 6, "epsilon": 0.0}, None, [9]),
    ("linformer", {"rank": 3}, 13, [2, 13]),
    ("linformer", {"rank": 20, "share": "headwise"}, 13, [7]),
    ("dilated", {"segment": 4}, None, [1, 2, 16, 21]),
    ("dilated", {"segment": 4}, 40, [11]),
    ("dilated", {"segment": 1, "ratio": 3}, None, [10]),
    ("dilated", {"segment": 6, "ratio": 4}, None, [25]),
]


@pytest.mark.parametrize(
    ("name", "options", "longest", "lengths"),
    FORMULAS,
    ids=["-".join([name, *(f"{k}={v}" for k, v in options.items())]) for name, options, *_ in FORMULAS],
)
def test_equals_the_formula(name, options, longest, lengths):
    for length in lengths:
        check_against_oracle(core_of(name, longest or length, **options), rows(length))


@pytest.mark.parametrize("length", [513, 1024])
def test_transformer_equals_the_formula_in_parts(length):
    mask = np.arange(length) < np.array([[length], [length - 130]])
    check_against_oracle(core_of("transformer", length, heads=1), mask)


OPTIONS = {
    "transformer": st.just({}),
    "local": st.fixed_dictionaries({"radius": st.integers(0, 12)}),
    "linear": st.just({}),
    "performer": st.fixed_dictionaries({"features": st.integers(1, 9)}),
    "linformer": st.fixed_dictionaries(
        {"rank": st.integers(1, 30), "share": st.sampled_from(["headwise", "key-value"])}
    ),
    "dilated": st.fixed_dictionaries({"segment": st.integers(1, 9), "ratio": st.integers(2, 4)}),
}


@every_variant
@settings(max_examples=3, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
@given(data=st.data())
def test_equals_the_formula_at_any_size(name, data):
    length, heads, head_dim = data.draw(st.tuples(st.integers(3, 20), st.integers(1, 5), st.integers(1, 6)))
    longest = length + data.draw(st.integers(0, 9))
    core = core_of(name, longest, heads, head_dim, **data.draw(OPTIONS[name]))
    check_against_oracle(core, rows(length)[data.draw(st.permutations(range(6)))[:3]])


@every_variant
def test_pad_content_changes_nothing(name):
    mask = rows(12)
    core, q, k, v = small(name), *normal(3, *mask.shape, 3, 4)
    junk = [np.where(mask[..., None, None], x, x * 1000) for x in (q, k, v)]
    np.testing.assert_array_equal(core(mask, q, k, v)[mask], core(mask, *junk)[mask])


@every_variant
def test_amount_of_padding_changes_nothing(name):
    mask = rows(12)
    core, inputs = small(name), normal(3, *mask.shape, 3, 4)
    longer = np.concatenate([inputs, normal(3, len(mask), 3, 3, 4, seed=1)], 2)
    out = core(np.pad(mask, [(0, 0), (0, 3)]), *longer)
    np.testing.assert_allclose(out[:, :12][mask], core(mask, *inputs)[mask], rtol=1e-5, atol=1e-6)


@every_variant
def test_batch_neighbours_change_nothing(name):
    mask = rows(12)
    core, inputs = small(name), normal(3, *mask.shape, 3, 4)
    out = core(mask, *inputs)
    others = 10 * normal(*inputs.shape, seed=1)
    others[:, 2] = inputs[:, 2]
    mask_of_others = ~mask
    mask_of_others[2] = mask[2]
    np.testing.assert_array_equal(core(mask_of_others, *others)[2], out[2])
    np.testing.assert_allclose(core(mask[2:3], *inputs[:, 2:3])[0], out[2], rtol=1e-5, atol=1e-6)


@every_variant
def test_a_row_of_padding_gives_zeros_with_finite_gradients(name):
    mask = rows(12)
    core, inputs = small(name), normal(3, *mask.shape, 3, 4)
    assert not core(mask, *inputs)[4].any()
    gradient = quick_jit(jax.grad(lambda inputs: core.f(mask, *inputs).sum()))
    for x in gradient([*inputs, *core.weights]):
        assert np.isfinite(x).all()


def scales(segment: int, max_length: int) -> Iterator[tuple[int, int]]:
    exponent = 0
    while segment * 2**exponent < 2 * max_length:
        yield segment * 2**exponent, 2**exponent
        exponent += 1


def reaches(name: str, head: int, i: int, j: int) -> bool:
    """Whether token i sees token j of twelve, for the options in SMALL."""
    if name == "local":
        return abs(i - j) <= 2
    if name == "dilated":
        same_segment = lambda w: i // w == j // w
        return any(same_segment(w) and (i - head) % r == (j - head) % r == 0 for w, r in scales(4, 16))
    return True


@every_variant
def test_reach(name):
    """Output i of a head depends on the keys and values j that the paper lets it see, and on no others."""
    mask = np.arange(12) < 10
    core, (q, k, v) = small(name), normal(3, 12, 3, 4)
    out = lambda k, v: core.f(mask[None], q[None], k[None], v[None], *core.weights)[0]
    jacobians = quick_jit(jax.jacrev(out, (0, 1)))(k, v)  # [length, heads, head_dim, length, heads, head_dim]
    seen = sum(np.abs(x).sum((2, 5)) for x in jacobians).transpose(1, 3, 0, 2) > 0  # [heads, heads, length, length]
    for head in range(3):
        expected = [[mask[j] and reaches(name, head, i, j) for j in range(12)] for i in range(10)]
        np.testing.assert_array_equal(seen[head, head, :10], expected)
    assert not seen[~np.eye(3, dtype=bool)].any()


@every_variant
def test_reads_positions_is_declared(name):
    """Moving all the tokens moves the outputs, and changes them only where the variant says so."""
    core, (q, k, v) = small(name), normal(3, 1, 12, 3, 4)
    moved = core(np.arange(12)[None] >= 3, *(np.roll(x, 3, 1) for x in (q, k, v)))[:, 3:]
    change = np.abs(moved - core(np.arange(12)[None] < 9, q, k, v)[:, :9]).max()
    assert change > 1e-2 if VARIANTS[name].reads_positions else change < 1e-5


# --- memory


def program(name: str, length: int, gradient: bool):
    core = core_of(name, length, heads=2, head_dim=8, **LARGE.get(name, {}))
    x = jax.ShapeDtypeStruct((1, length, 2, 8), jnp.float32)
    f = core.f
    if gradient:
        f = jax.grad(lambda *inputs: jnp.square(core.f(*inputs)).sum(), tuple(range(1, 4 + len(core.weights))))
    return f, (jax.ShapeDtypeStruct((1, length), jnp.bool_), x, x, x, *core.weights)


def arrays(jaxpr) -> Iterator[tuple[int, ...]]:
    """The shapes of all arrays in a jaxpr and, recursively, in those that it calls."""
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    for variable in (*jaxpr.constvars, *jaxpr.invars, *(x for e in jaxpr.eqns for x in (*e.invars, *e.outvars))):
        yield getattr(variable.aval, "shape", ())
    is_jaxpr = lambda x: hasattr(x, "eqns")
    for inner in jax.tree.leaves([list(e.params.values()) for e in jaxpr.eqns], is_leaf=is_jaxpr):
        if is_jaxpr(inner):
            yield from arrays(inner)


def is_square(shape: tuple[int, ...], length: int) -> bool:
    return sum(axis >= length for axis in shape) > 1


def square(x):
    return jnp.tanh(x @ x.T) @ x


@jax.custom_vjp
def square_in_a_rule(x):
    return x


square_in_a_rule.defvjp(lambda x: (x, x), lambda x, g: (square(x) * g,))


@pytest.mark.parametrize(
    "f",
    [
        jax.jit(square),
        jax.checkpoint(square),
        lambda x: jax.lax.map(square, x[None]),
        lambda x: jax.lax.cond(x[0, 0] > 0, square, jnp.square, x),
        lambda x: jax.vjp(square_in_a_rule, x)[1](x),
        lambda x: np.ones((64, 64)) @ x,
    ],
    ids=["jit", "checkpoint", "scan", "cond", "custom_vjp", "constant"],
)
def test_squares_are_found_wherever_they_hide(f):
    shapes = arrays(jax.make_jaxpr(f)(jnp.ones((64, 8))))
    assert any(is_square(shape, 64) for shape in shapes)


@every_variant
@pytest.mark.parametrize("gradient", [False, True], ids=["forward", "gradient"])
def test_no_square_of_the_length(name, gradient):
    biggest = {}
    for length in (2048, 4096):
        f, inputs = program(name, length, gradient)
        shapes = list(arrays(jax.make_jaxpr(f)(*inputs)))
        assert not [shape for shape in shapes if is_square(shape, length)]
        biggest[length] = max(map(np.prod, shapes))
    assert biggest[4096] <= 2.1 * biggest[2048]
    if name == "transformer":
        assert biggest[4096] <= 2 * 512 * 4096


@pytest.mark.parametrize("name", [name for name in SMALL if name != "transformer"])
@pytest.mark.parametrize("gradient", [False, True], ids=["forward", "gradient"])
def test_memory_is_linear_in_the_length(name, gradient):
    def memory(length: int) -> int:
        f, inputs = program(name, length, gradient)
        return quick_jit(f).lower(*inputs).compile().memory_analysis().temp_size_in_bytes

    assert memory(4096) <= 2.25 * memory(2048)  # dilated has one scale more


# --- limits, precision, randomness


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
