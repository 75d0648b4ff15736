"""nystromformer against transformers 5.24.0, without padding.

For the first guess of the inverse, that code scales the whole batch by one number. So there is one head and one
sequence. The largest difference was 7e-7, of outputs up to 1.7.
"""

import numpy as np
import pytest

from lra.checks.subject import normal

from .ours import built, load, tensor, weight

theirs = pytest.importorskip("transformers.models.nystromformer.modeling_nystromformer")


def test_equals_transformers():
    config = theirs.NystromformerConfig(
        hidden_size=12, num_attention_heads=1, num_landmarks=4, segment_means_seq_len=24, conv_kernel_size=5
    )
    ours, x = built("nystromformer", 24, heads=1, landmarks=4, kernel=5), normal(1, 24, 12)
    module = theirs.NystromformerSelfAttention(config)
    names = {"query": ours.q, "key": ours.k, "value": ours.v}
    conv = tensor(ours.core.conv).T[:, None, :, None]
    load(module, {f"{name}.weight": weight(projection) for name, projection in names.items()} | {"conv.weight": conv})
    out = module(tensor(x))[0].detach().numpy() @ np.asarray(ours.out.kernel.get_value())
    np.testing.assert_allclose(ours(x, np.ones((1, 24), bool)), out, rtol=1e-4, atol=1e-5)
