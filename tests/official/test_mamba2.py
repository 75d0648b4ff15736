"""mamba2 against Mamba2Mixer of transformers 5.24.0, whose path without kernels follows the authors' code.

That layer is causal: here the steps of the backward direction are 0. The largest difference was 7e-7, of outputs up to
3.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from lra.checks.subject import normal

from .ours import built, load, tensor, torch, weight

theirs = pytest.importorskip("transformers.models.mamba2.modeling_mamba2")


def test_the_forward_direction_equals_transformers():
    config = theirs.Mamba2Config(
        hidden_size=12, num_heads=3, head_dim=8, state_size=4, n_groups=1, expand=2, conv_kernel=4, chunk_size=8,
        num_hidden_layers=1, use_bias=False, use_conv_bias=True,
    )  # fmt: skip
    ours, x = built("mamba2", 21, state=4), normal(2, 21, 12)
    for parameter, off in ((ours.dt_bias, -1e4), (ours.skip, 0.0)):
        parameter.set_value(jnp.stack([parameter.get_value()[0], jnp.full(3, off)]))
    ours.conv_bias.set_value(jnp.asarray(normal(2, 32)))
    module = theirs.Mamba2Mixer(config, 0)
    load(module, {
        "in_proj.weight": weight(ours.into)[:-3],  # without the steps backward
        "conv1d.weight": tensor(ours.conv)[:, 0].T[:, None], "conv1d.bias": tensor(ours.conv_bias)[0],
        "dt_bias": tensor(ours.dt_bias)[0], "A_log": tensor(ours.log_a)[0], "D": tensor(ours.skip)[0],
        "norm.weight": tensor(ours.norm.scale), "out_proj.weight": weight(ours.out),
    })  # fmt: skip
    with torch.no_grad():
        out = module(tensor(x)).numpy()
    np.testing.assert_allclose(ours(x, np.ones((2, 21), bool)), out, rtol=1e-4, atol=1e-5)
