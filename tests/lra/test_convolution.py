"""On a CPU, Flax's convolutions are sums of products that equal XLA's convolution, and no program has another one."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import SMALL, resolved
from flax import nnx
from jax import lax

from lra import convolution, settings
from lra.convolution import is_slow, mend, shifted
from lra.models.attention import register_attention
from lra.progress import Display
from lra.tasks.prepared import load
from lra.trainer import Trainer

LAYERS = {
    "plain": {"kernel_size": (5,)},
    "even": {"kernel_size": (4,), "strides": 3},
    "valid": {"kernel_size": (4,), "strides": 2, "padding": "VALID"},
    "causal, dilated": {"kernel_size": (3,), "padding": "CAUSAL", "kernel_dilation": 2},
    "circular": {"kernel_size": (3,), "padding": "CIRCULAR"},
    "depthwise": {"kernel_size": (4,), "feature_group_count": 8},
    "groups": {"kernel_size": (4,), "feature_group_count": 2, "strides": 2, "use_bias": False},
    "pointwise": {"kernel_size": 1},
    "plane": {"kernel_size": (3, 2)},
    "depthwise plane": {
        "kernel_size": (3, 3), "feature_group_count": 8, "strides": (2, 1), "padding": [(1, 2), (0, 1)],
    },
    "cut": {"kernel_size": (3,), "padding": [(-1, 2)]},
    "half": {"kernel_size": (3,), "dtype": jnp.bfloat16, "preferred_element_type": jnp.float32},
}  # fmt: skip


@nnx.jit
def outputs_and_gradients(layer, x):
    """The outputs, and the gradients of a function of them by the parameters and the inputs."""
    gradients = nnx.grad(lambda layer, x: jnp.sin(layer(x)).sum(), argnums=(0, 1))(layer, x)
    return layer(x), gradients


@pytest.mark.parametrize("options", LAYERS.values(), ids=LAYERS)
def test_it_equals_the_convolution_of_xla(options):
    layer = nnx.Conv(8, 16, rngs=nnx.Rngs(0), **options)
    places = (7, 9)[: len(layer.kernel_size)]
    x = jax.random.normal(jax.random.key(1), (2, *places, 8))
    expected = outputs_and_gradients(layer, x)
    mend(nnx.Sequential(nnx.LayerNorm(8, rngs=nnx.Rngs(0)), layer))
    assert layer.conv_general_dilated is shifted
    tolerance = 0.02 if layer.dtype == jnp.bfloat16 else 1e-5
    for ours, theirs in zip(*(jax.tree.leaves(each) for each in (outputs_and_gradients(layer, x), expected))):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": (3,), "input_dilation": 2},
        {"kernel_size": (convolution.MOST_TAPS + 1,)},
        {"kernel_size": (3,), "conv_general_dilated": lambda *inputs, **others: lax.conv_general_dilated(*inputs)},
    ],
)
def test_other_layers_stay_as_they_are(options):
    layer = nnx.Conv(2, 2, rngs=nnx.Rngs(0), **options)
    before = layer.conv_general_dilated
    assert mend(layer).conv_general_dilated is before


def test_other_devices_keep_the_convolution_of_xla(monkeypatch):
    monkeypatch.setattr(settings, "device", lambda: SimpleNamespace(platform="gpu"))
    layer = mend(nnx.Conv(2, 2, (3,), rngs=nnx.Rngs(0)))
    assert layer.conv_general_dilated is lax.conv_general_dilated
    assert not is_slow(jax.jit(layer).lower(jnp.zeros((1, 4, 2))))


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("way", ["nnx.Conv", "jax.lax"])
def test_a_run_says_which_convolution_is_slow(way, home, tmp_path, capsys):
    @register_attention("convolving")
    class Convolving(nnx.Module):
        def __init__(self, shape, *, rngs: nnx.Rngs):
            self.layer = nnx.Conv(shape.dim, shape.dim, (3,), rngs=rngs)

        def __call__(self, x, mask):
            if way == "nnx.Conv":
                return self.layer(x)
            return lax.conv_general_dilated(
                x, self.layer.kernel[...], (1,), "SAME", dimension_numbers=("NHC", "HIO", "NHC")
            )

    plan = resolved("listops", "convolving", "demo", (0,), SMALL)
    with Display().bar("convolving", 1, {"compilation": 1}) as bar:
        trainer = Trainer(plan, load(plan.task, plan.source), tmp_path, bar)
        trainer.compile()
    said = [line for line in capsys.readouterr().err.splitlines() if "to train" not in line]
    assert said == ([] if way == "nnx.Conv" else [f"convolving: {convolution.SLOW}"])
