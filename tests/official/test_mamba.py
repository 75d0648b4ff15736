"""mamba against `MambaMixer` of transformers 5.24.0 (torch 2.13.0) on equal weights, in float32 and in one direction,
since theirs is causal. The largest difference seen is 7.5e-8.
"""

import numpy as np
import pytest
from flax import nnx

from lra.models.attention import VARIANTS, Shape

torch = pytest.importorskip("torch")
modeling = pytest.importorskip("transformers.models.mamba.modeling_mamba")


def test_one_direction_is_the_mixer_of_transformers():
    config = modeling.MambaConfig(hidden_size=32, state_size=5, time_step_rank=2, num_hidden_layers=1)
    torch.manual_seed(0)
    theirs = modeling.MambaMixer(config, 0).eval()
    given = {name: y.detach().numpy() for name, y in theirs.named_parameters()}
    variant = VARIANTS["mamba"]
    ours = variant.build(Shape(32, 32, 4, 40), nnx.Rngs(0), variant.options(state=5))
    forward_alone = lambda y: np.stack([y, np.zeros_like(y)])  # B, C and D of the other direction are 0
    ours.into.kernel.set_value(given["in_proj.weight"].T)
    taps = given["conv1d.weight"][:, 0].T
    ours.conv.set_value(np.stack([taps, taps], 1))
    ours.conv_bias.set_value(np.stack([given["conv1d.bias"]] * 2))
    ours.select.set_value(forward_alone(given["x_proj.weight"].T))
    ours.dt.set_value(forward_alone(given["dt_proj.weight"].T))
    ours.dt_bias.set_value(np.stack([given["dt_proj.bias"]] * 2))
    ours.log_a.set_value(np.stack([given["A_log"].T] * 2))
    ours.skip.set_value(forward_alone(given["D"]))
    ours.out.kernel.set_value(given["out_proj.weight"].T)

    x = np.random.default_rng(0).standard_normal((3, 37, 32)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.tensor(x)).numpy()
    np.testing.assert_allclose(ours(x, np.ones((3, 37), bool)), expected, rtol=1e-4, atol=1e-5)
