"""nalaformer against the authors' module for images, github.com/ZacharyMeng/NaLaFormer at 1f1c10a.

It runs where the repository's folder NaLaformer is on the path. The image has one row, and the rotation, which the
module takes as an argument, is that of one position. Its biases are 0. The largest difference was 7e-7, of outputs up
to 2.
"""

import numpy as np
import pytest

from lra.checks.subject import normal

from .ours import built, load, tensor, torch, weight

theirs = pytest.importorskip("NALA")


def test_equals_the_authors_module():
    ours, x = built("nalaformer", 13), normal(2, 13, 12)
    conv = torch.zeros(12, 1, 5, 5)
    conv[:, 0, 2] = tensor(ours.conv).T
    module = theirs.NormAwareLinearAttn(12, 3)
    load(module, {
        "qkvg.weight": torch.cat([weight(projection) for projection in (ours.q, ours.k, ours.v, ours.gate)]),
        "out_proj.weight": weight(ours.out), "ln.weight": torch.ones(12), "lepe.weight": conv,
    })  # fmt: skip
    angle = np.arange(13)[:, None] * np.repeat(10_000.0 ** -np.linspace(0, 1, 2), 2)
    sin, cos = (tensor(function(angle).astype(np.float32)) for function in (np.sin, np.cos))
    image = tensor(x).transpose(1, 2)[:, :, None]
    out = module(image, sin, cos)[:, :, 0].transpose(1, 2).detach().numpy()
    np.testing.assert_allclose(ours(x, np.ones((2, 13), bool)), out, rtol=1e-4, atol=1e-5)
