"""fnet against transformers 5.24.0, whose transform is not unitary.

The largest difference was 3e-7, of outputs up to 2.
"""

import numpy as np
import pytest

from lra.checks.subject import normal

from .ours import built, tensor

theirs = pytest.importorskip("transformers.models.fnet.modeling_fnet")


def test_equals_transformers():
    config = theirs.FNetConfig(hidden_size=12, use_tpu_fourier_optimizations=False)
    x = normal(2, 13, 12)
    out = theirs.FNetBasicFourierTransform(config)(tensor(x))[0].numpy() / np.sqrt(13 * 12)
    np.testing.assert_allclose(built("fnet", 13)(x, np.ones((2, 13), bool)), out, rtol=1e-5, atol=1e-6)
