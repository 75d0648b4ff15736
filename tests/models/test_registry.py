"""What may be registered as a variant, and how a registered variant is built."""

import dataclasses
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Protocol, SupportsIndex

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lra.checks import check_variant
from lra.checks.subject import normal
from lra.configuration import parse_override
from lra.errors import UsageError, UserError
from lra.families import FAMILIES, OUTSIDE
from lra.models.attention import VARIANTS, Shape, register_attention
from lra.models.encoder import Classifier, EncoderConfig
from lra.plan import resolve
from lra.spec import RunSpec

SHAPE = Shape(dim=6, qkv_dim=8, heads=2, max_length=5, dropout=0.5)


def test_each_of_the_projects_variants_is_of_one_family():
    own = sorted(name for name, variant in VARIANTS.items() if variant.is_own)
    assert sorted(name for names in FAMILIES.values() for name in names) == own


@pytest.mark.usefixtures("registry")
def test_register_a_function():
    @register_attention("test_function", paper="none", cost="L", causal=True, version=3)
    def scaled(q, k, v, mask, by=2.0):
        return by * v

    variant = VARIANTS["test_function"]
    assert (variant.paper, variant.cost, variant.causal, variant.version) == ("none", "L", True, 3)
    assert variant.family == OUTSIDE
    mixer, x = variant.build(SHAPE, nnx.Rngs(0), variant.options(by=3.0)), normal(2, 5, 6)
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


@pytest.mark.usefixtures("registry")
def test_options_are_the_keyword_arguments_with_their_types():
    @register_attention("test_options")
    class WithOptions(nnx.Module):
        def __init__(self, shape, *, must: int, width: int | None = None, share=0.5, kind="a", rngs, sizes=(1, 2)):
            self.got = (must, width, share, kind, sizes)

        def __call__(self, x, mask):
            return x

    options = VARIANTS["test_options"].options
    assert {field.name: field.type for field in dataclasses.fields(options)} == {
        "must": int, "width": int | None, "share": float, "kind": str, "sizes": Any,
    }  # fmt: skip
    built = VARIANTS["test_options"].build(SHAPE, nnx.Rngs(0), options(must=3, share=0.25))
    assert built.got == (3, None, 0.25, "a", (1, 2))
    with pytest.raises(TypeError, match="must"):
        options()


@pytest.mark.parametrize("default", [[1], {"a": 1}])
def test_defaults_that_could_be_changed_are_refused(default):
    with pytest.raises(UsageError, match=r"'test_mutable': the default of 'sizes' is a \w+, which could be changed"):
        register_attention("test_mutable")(lambda q, k, v, mask, sizes=default: v)
    assert "test_mutable" not in VARIANTS


@pytest.mark.parametrize(
    "default", [print, float("inf"), (float("nan"),), frozenset({"a"}), np.float32(1), jnp.float32, ...]
)
def test_defaults_that_no_record_can_hold_are_refused(default):
    with pytest.raises(UsageError, match=r"the default of 'scale', .*, can stand in no record"):
        register_attention("mine")(lambda q, k, v, mask, scale=default: v)


def test_a_default_is_a_value_of_its_option_whatever_its_annotation(registry):
    @register_attention("mine")
    def mine(q, k, v, mask, window: int = None, share: int = 0.5):  # noqa: RUF013
        return v

    bound = [parse_override(f"mine.{line}") for line in ("window = None", "window = 3", "share = 0.5")]
    assert [binding.value for binding in bound] == [None, 3, 0.5]
    with pytest.raises(UsageError, match="is not a whole number or None"):
        parse_override("mine.window = 'a'")


@pytest.mark.parametrize("hint", [Callable, Hashable, SupportsIndex, Any, Protocol])
def test_an_option_of_another_type_takes_any_value_and_no_section(registry, hint):
    def mine(q, k, v, mask, kind=None):
        return v

    mine.__annotations__ = {"kind": hint}
    register_attention("mine")(mine)
    assert parse_override("mine.kind = 'a'").value == "a"
    for line in ("mine.kind = @cosine()", "mine.kind = (1e999,)"):
        with pytest.raises(UsageError):
            parse_override(line)


@pytest.mark.parametrize("name", ["my-attention", "a/b", "", "ä", "a" * 65, 3])
def test_names_that_a_configuration_could_not_tell_are_refused(name):
    with pytest.raises(UsageError, match="is no name for a variant"):
        register_attention(name)


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("name", ["train", "cosine", "listops", "all"])
def test_names_that_mean_something_else_are_refused(name):
    """Such a variant would be given the parameters of the section or the task."""
    register_attention(name)(lambda q, k, v, mask: v)
    with pytest.raises(UsageError, match=f"variant '{name}' .* this name means something else; choose another"):
        resolve(RunSpec("listops", name, "demo"))
    with pytest.raises(UsageError, match="this name means something else"):
        check_variant(name)


def test_options_that_gin_cannot_write_are_refused():
    with pytest.raises(UsageError, match="'ü' cannot be set"):
        register_attention("mine")(lambda q, k, v, mask, ü=1.0: v)


def test_small_sizes_are_of_options_that_there_are():
    with pytest.raises(UsageError, match="'test_small' has no option 'radios'"):
        register_attention("test_small", small={"radios": 2})(lambda q, k, v, mask, radius=3: v)


@pytest.mark.usefixtures("registry")
def test_a_cell_of_a_notebook_may_be_run_twice():
    cell = "@register('test_cell')\ndef mixer(q, k, v, mask, by={by}):\n    return v\n"
    for by in (1.0, 2.0):
        exec(cell.format(by=by), {"register": register_attention, "__name__": "__main__"})
    assert VARIANTS["test_cell"].options().by == 2.0
    with pytest.raises(UsageError, match="'test_cell' is registered already"):
        register_attention("test_cell")(lambda q, k, v, mask: v)


@pytest.mark.usefixtures("registry")
def test_the_source_is_that_of_the_file():
    register_attention("test_source")(lambda q, k, v, mask: v)
    assert next(iter(VARIANTS["test_source"].sources.values())) == Path(__file__).read_text()
    assert not VARIANTS["test_source"].is_own
    assert VARIANTS["local"].sources is None
    assert VARIANTS["local"].is_own


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


def test_every_variant_has_its_file_its_oracle_and_its_checks():
    """Each variant has one file of its name, here as in models/."""
    from lra import models

    attention = Path(models.__file__).parent / "attention"
    for name, variant in VARIANTS.items():
        assert Path(variant.file).resolve() == (attention / f"{name}.py").resolve()
        assert variant.oracle.__module__ == f"lra.models.oracles.{name}"
        assert variant.paper
        test = Path(__file__).parent / "attention" / f"test_{name}.py"
        assert f'@parametrize_with_checks(["{name}"])' in test.read_text()


class Layered(nnx.Module):
    """Adds its own constant and the constant that the layer before handed on, and hands on the sum."""

    def __init__(self, shape, *, rngs):
        self.layer, self.layers = shape.layer, shape.layers

    def __call__(self, x, mask, carry):
        carry = (carry or 0) + 10**self.layer
        return x + carry, carry


@pytest.mark.usefixtures("registry")
def test_layers_know_which_they_are_and_hand_something_on():
    register_attention("test_layered", by_layer=True)(Layered)
    sizes = EncoderConfig(layers=3, dim=6, heads=2, qkv_dim=8, mlp_dim=4, dropout=0.0, positions="none")
    model = Classifier(sizes, VARIANTS["test_layered"], 3, 5, 2, nnx.Rngs(0))
    assert [block.attention.layer for block in model.encoder.blocks] == [0, 1, 2]
    carried = []
    for block in model.encoder.blocks:
        x, carry = block(jnp.zeros((1, 2, 6)), jnp.ones((1, 2), bool), carried[-1] if carried else None)
        carried.append(carry)
        np.testing.assert_allclose(x, carry + block.mlp(block.norm_mlp(jnp.full((1, 2, 6), carry, float))), rtol=1e-6)
    assert carried == [1, 11, 111]


@pytest.mark.usefixtures("registry")
def test_layers_do_not_differ_unless_it_is_declared():
    class Asks(Layered):
        def __call__(self, x, mask):
            return x

    shape = dataclasses.replace(SHAPE, layer=1, layers=2)
    for name, declared, told in (("test_all_alike", False, (0, 1)), ("test_different", True, (1, 2))):
        register_attention(name, by_layer=declared)(Asks)
        built = VARIANTS[name].build(shape, nnx.Rngs(0))
        assert (built.layer, built.layers) == told


CARRYING = [lambda x, c: x, lambda x, c: (x, c, c), lambda x, c: (x[:1], c)]


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(("case", "wrong"), enumerate(CARRYING))
def test_wrong_outputs_of_carrying_mixers_are_refused(case, wrong):
    class Carrying(nnx.Module):
        def __init__(self, shape, *, rngs):
            pass

        def __call__(self, x, mask, carry):
            return wrong(x, carry)

    name = f"test_carrying_{case}"
    register_attention(name, by_layer=True)(Carrying)
    variant = VARIANTS[name]
    with pytest.raises(UserError, match=rf"'{name}' \(.*test_registry\.py, line \d+\)"):
        variant.mix(variant.build(SHAPE, nnx.Rngs(0)), jnp.zeros((2, 5, 6)), jnp.ones((2, 5), bool))


@pytest.mark.parametrize(("heads", "message"), [(3, "qkv_dim = 8 does not divide by heads = 3"), (0, "heads = 0")])
def test_heads_that_do_not_divide_are_refused(heads, message):
    with pytest.raises(UsageError, match=message):
        dataclasses.replace(SHAPE, heads=heads)


@pytest.mark.usefixtures("registry")
def test_a_variant_of_the_project_under_another_name_is_not_the_projects():
    """The record of one has the text of the file that registers it."""
    register_attention("test_borrowed")(VARIANTS["local"].make)
    assert not VARIANTS["test_borrowed"].is_own
    assert Path(__file__).read_text() in VARIANTS["test_borrowed"].sources.values()
