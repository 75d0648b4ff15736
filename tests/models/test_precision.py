"""The compute type: what is cast to bfloat16, what stays in float32, and which devices have it."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lra.errors import UserError
from lra.models.attention import VARIANTS
from lra.models.encoder import Classifier, EncoderConfig
from lra.models.precision import Linear, narrowed, require

SIZES = EncoderConfig(layers=2, dim=16, heads=2, qkv_dim=16, mlp_dim=16, pool="cls", positions="learned")


def model(name: str = "s5", dtype=jnp.bfloat16):
    built = Classifier(SIZES, VARIANTS[name], 10, 12, 3, nnx.Rngs(0), VARIANTS[name].options(state=16), dtype)
    graph, params, rest = nnx.split(built, nnx.Param, ...)
    run = lambda params, *args: nnx.merge(graph, narrowed(params, dtype, ("log_step",)), rest, copy=True)(*args)
    return run, params


def names_of(params: nnx.State, dtype) -> set[str]:
    return {str(path[-1]) for path, x in nnx.to_flat_state(params) if x.get_value().dtype == dtype}


def test_matrices_are_cast_and_what_is_named_stays_wide():
    narrow = narrowed(model()[1], jnp.bfloat16, ("log_step",))
    layer = narrow["encoder"]["blocks"][1]["attention"]
    assert names_of(layer, jnp.float32) == {"log_step"}
    assert {"b", "c", "kernel", "bias"} <= names_of(layer, jnp.bfloat16)
    around = nnx.filter_state(narrow, lambda path, x: "attention" not in path)
    assert names_of(around, jnp.float32) == {"embedding", "positions", "cls", "scale", "bias"}
    assert names_of(around, jnp.bfloat16) == {"kernel"}


def test_a_name_counts_for_modules_too():
    layer = narrowed(model()[1], jnp.bfloat16, ("gate", "d"))["encoder"]["blocks"][0]["attention"]
    assert names_of(layer, jnp.float32) == {"kernel", "bias", "d"}


def test_float32_changes_nothing():
    params = model()[1]
    assert narrowed(params, jnp.float32) is params


@pytest.mark.slow
def test_logits_and_gradients_are_float32():
    run, params = model("s5")
    tokens, lengths = jnp.ones((2, 12), jnp.uint8), jnp.array([12, 7])
    logits, pull_back = jax.vjp(lambda params: run(params, tokens, lengths), params)
    assert logits.dtype == jnp.float32
    assert {x.dtype for x in jax.tree.leaves(pull_back(jnp.ones_like(logits)))} == {jnp.dtype(jnp.float32)}


def test_the_gradient_of_a_bias_is_summed_in_float32():
    """In bfloat16 the sum of so many numbers loses a hundredth, or stops where one is less than half a last place."""
    x = jnp.asarray(1 + np.random.default_rng(0).normal(size=(50_000, 4)), jnp.bfloat16)
    graph, params = nnx.split(Linear(4, 4, rngs=nnx.Rngs(0)))
    kept = nnx.map_state(lambda path, p: jax.tree.map(lambda y: y.astype(x.dtype), p), params)
    loss = lambda params, x: (nnx.merge(graph, params)(x) * x).astype(jnp.float32).sum()
    summed = np.asarray(jax.jit(jax.grad(loss))(kept, x)["bias"].get_value(), float)
    np.testing.assert_allclose(summed, np.asarray(x, float).sum(0), rtol=2**-8)  # once rounded, at the end


@pytest.mark.parametrize(
    ("kind", "capability", "lacks"),
    [("Tesla T4", "7.5", True), ("A100", "8.0", False), ("MI250", "gfx90a", False), ("TPU v4", None, False)],
)
def test_a_device_without_bfloat16_is_named_before_the_run(kind, capability, lacks):
    device = types.SimpleNamespace(device_kind=kind, **({"compute_capability": capability} if capability else {}))
    require(jnp.float32, device)
    if not lacks:
        return require(jnp.bfloat16, device)
    with pytest.raises(UserError, match=r"Tesla T4 \(compute capability 7.5\).*train.compute_type = 'float32'"):
        require(jnp.bfloat16, device)
