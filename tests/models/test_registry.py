"""What may be registered as a variant, and what becomes of it."""

import gin
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lra.check.subject import normal
from lra.errors import UsageError, UserError
from lra.models.attention import VARIANTS, Shape, register_attention
from lra.models.encoder import Classifier, EncoderConfig


@pytest.fixture
def registry():
    before = set(VARIANTS)
    yield
    for name in set(VARIANTS) - before:
        del VARIANTS[name]


SHAPE = Shape(dim=6, qkv_dim=8, heads=2, max_length=5, dropout=0.5)


@pytest.mark.usefixtures("registry")
def test_register_a_function():
    @register_attention("test_function", paper="none", cost="L", causal=True, version=3)
    def scaled(q, k, v, mask, by=2.0):
        return by * v

    variant = VARIANTS["test_function"]
    assert (variant.paper, variant.cost, variant.causal, variant.version) == ("none", "L", True, 3)
    gin.parse_config("test_function.by = 3.0")
    mixer, x = variant.build(SHAPE, nnx.Rngs(0)), normal(2, 5, 6)
    expected = 3 * x @ mixer.v.kernel.get_value() @ mixer.out.kernel.get_value()
    np.testing.assert_allclose(mixer(x, np.ones((2, 5), bool)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("registry")
def test_a_function_that_takes_dropout_gets_it_in_training_only():
    got = []

    @register_attention("test_dropout")
    def spy(q, k, v, mask, dropout):
        got.append(dropout)
        return v

    mixer, inputs = VARIANTS["test_dropout"].build(SHAPE, nnx.Rngs(0)), (normal(2, 5, 6), np.ones((2, 5), bool))
    mixer(*inputs)
    mixer(*inputs)
    mixer.eval()
    mixer(*inputs)
    assert got[0].rate == got[1].rate == 0.5
    assert got[0].key != got[1].key
    assert got[2].key is None


@pytest.mark.usefixtures("registry")
def test_register_modules():
    @register_attention("test_heads")
    class OnHeads(nnx.Module):
        def __init__(self, shape, *, rngs):
            self.bias = nnx.Param(jnp.ones(shape.head_dim))

        def __call__(self, q, k, v, mask):
            return v + self.bias

    @register_attention("test_whole")
    class Whole(nnx.Module):
        def __init__(self, shape, *, rngs):
            self.project = nnx.Linear(shape.dim, shape.dim, rngs=rngs)

        def __call__(self, x, mask):
            return self.project(x)

    x, mask = normal(2, 5, 6), np.ones((2, 5), bool)
    heads, whole = (VARIANTS[name].build(SHAPE, nnx.Rngs(0)) for name in ("test_heads", "test_whole"))
    expected = (x @ heads.v.kernel.get_value() + 1) @ heads.out.kernel.get_value()
    np.testing.assert_allclose(heads(x, mask), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(whole(x, mask), x @ whole.project.kernel.get_value(), rtol=1e-5, atol=1e-5)


def test_names_are_taken_once():
    before = VARIANTS["linear"]
    with pytest.raises(UsageError, match="'linear'"):
        register_attention("linear")(lambda q, k, v, mask: v)
    assert VARIANTS["linear"] is before


@pytest.mark.parametrize(
    "target", [lambda x, mask: x, lambda q, k, v: v, lambda query, key, value, mask: value, lambda k, q, v, mask: v]
)
def test_wrong_signatures_are_refused(target):
    with pytest.raises(UsageError, match=r"'test_signature' takes \("):
        register_attention("test_signature")(target)
    assert "test_signature" not in VARIANTS


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    ("case", "wrong"),
    enumerate([lambda v: v[:, :-1], lambda v: v[..., :1], lambda v: v.sum(2), lambda v: (v, v), lambda v: None]),
)
def test_wrong_outputs_are_refused(case, wrong):
    name = f"test_output_{case}"
    register_attention(name)(lambda q, k, v, mask: wrong(v))
    mixer = VARIANTS[name].build(SHAPE, nnx.Rngs(0))
    with pytest.raises(UserError, match=f"'{name}'.*{[2, 5, 2, 4]}".replace("[", r"\[")):
        mixer(normal(2, 5, 6), np.ones((2, 5), bool))


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(("case", "wrong"), enumerate([lambda x: x[:, :1], lambda x: x[:, :, :1], lambda x: (x, x)]))
def test_wrong_outputs_of_whole_mixers_are_refused(case, wrong):
    """Two of these would broadcast without a word."""

    class Whole(nnx.Module):
        def __init__(self, shape, *, rngs):
            pass

        def __call__(self, x, mask):
            return wrong(x)

    name = f"test_whole_output_{case}"
    register_attention(name)(Whole)
    sizes = EncoderConfig(layers=1, dim=6, heads=2, qkv_dim=8, mlp_dim=4)
    build = lambda: Classifier(sizes, VARIANTS[name], 3, 5, 2, nnx.Rngs(0))
    with pytest.raises(UserError, match=f"'{name}'"):
        nnx.eval_shape(lambda: build()(np.zeros((2, 5), int), np.array([5, 4])))
