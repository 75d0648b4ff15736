"""longformer against transformers 5.24.0, with a global token and with padding.

The largest difference was 7e-7, of outputs up to 2.2.
"""

import numpy as np
import pytest

from lra.checks.subject import normal

from .ours import built, load, tensor, torch, weight

theirs = pytest.importorskip("transformers.models.longformer.modeling_longformer")


def test_equals_transformers():
    config = theirs.LongformerConfig(
        hidden_size=12, num_attention_heads=3, attention_window=[8], num_hidden_layers=1,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    ours, x = built("longformer", 24, radius=4), normal(2, 24, 12)
    module = theirs.LongformerSelfAttention(config, 0)
    names = {"query": "q", "key": "k", "value": "v"}
    load(module, {
        f"{name}{kind}.weight": weight(getattr(ours, short + kind))
        for name, short in names.items() for kind in ("", "_global")
    })  # fmt: skip
    mask = np.arange(24) < np.array([[24], [17]])
    first = np.arange(24) == 0
    kinds = torch.tensor(np.where(mask, np.where(first, 10_000.0, 0.0), -10_000.0), dtype=torch.float32)
    out = module(tensor(x), kinds, kinds < 0, kinds > 0, True)[0].detach().numpy()
    out = out @ np.asarray(ours.out.kernel.get_value())
    np.testing.assert_allclose(np.asarray(ours(x, mask))[mask], out[mask], rtol=1e-4, atol=1e-5)
