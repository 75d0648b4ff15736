"""differential against DiffLlamaAttention of transformers 5.24.0, not causal and without its rotation.

The authors' own module needs a GPU. Heads n and n + heads / 2 are the groups of one head there, heads 2 n and 2 n + 1
here. The norm has no gain there, and gains of 1 here. The largest difference was 1e-6, of outputs up to 2.8.
"""

import numpy as np
import pytest

from lra.checks.subject import normal

from .ours import built, load, tensor, torch

theirs = pytest.importorskip("transformers.models.diffllama.modeling_diffllama")


@pytest.mark.parametrize("layer", [0, 3])
def test_equals_transformers(layer):
    config = theirs.DiffLlamaConfig(
        hidden_size=16, num_attention_heads=4, num_key_value_heads=4, attention_dropout=0.0, rms_norm_eps=1e-5
    )
    config._attn_implementation = "eager"
    ours, x = built("differential", 13, dim=16, heads=4, layer=layer, layers=4), normal(2, 13, 16)
    module = theirs.DiffLlamaAttention(config, layer)
    in_turn = lambda projection: tensor(projection.kernel).T.reshape(2, 2, 4, 16).transpose(0, 1).reshape(16, 16)
    weights = {f"{name}_proj.weight": in_turn(getattr(ours, name)) for name in "qkv"}
    weights |= {"o_proj.weight": tensor(ours.out.kernel).T}
    for group in (0, 1):
        weights[f"lambda_q{group + 1}"] = tensor(ours.core.query_weights)[group]
        weights[f"lambda_k{group + 1}"] = tensor(ours.core.key_weights)[group]
    load(module, weights)
    unturned = torch.ones(2, 13, 4), torch.zeros(2, 13, 4)
    out = module(tensor(x), unturned)[0].detach().numpy()
    np.testing.assert_allclose(ours(x, np.ones((2, 13), bool)), out, rtol=1e-4, atol=1e-5)
