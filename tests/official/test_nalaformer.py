"""nalaformer against the authors' module for images, github.com/ZacharyMeng/NaLaFormer at 1f1c10a.

It runs where the repository's folder NaLaformer is on the path. The image has one row, and the rotation, which the
module takes as an argument, is that of one position. Its biases are 0. The largest difference was 7e-7, of outputs up
to 2.
"""

import numpy as np
import pytest
from flax import nnx

from lra.checks.subject import normal
from lra.models.attention import VARIANTS, Shape

torch = pytest.importorskip("torch")
nala = pytest.importorskip("NALA")


def test_equals_the_authors_module():
    x = normal(2, 13, 12)
    ours = VARIANTS["nalaformer"].build(Shape(12, 12, 3, 13), nnx.Rngs(0))
    theirs = nala.NormAwareLinearAttn(12, 3)
    kernel = lambda projection: torch.tensor(np.asarray(projection.kernel.get_value()).T)
    weights = {
        "qkvg.weight": torch.cat([kernel(projection) for projection in (ours.q, ours.k, ours.v, ours.gate)]),
        "out_proj.weight": kernel(ours.out), "ln.weight": torch.ones(12),
        "lepe.weight": torch.zeros(12, 1, 5, 5),
    }  # fmt: skip
    weights["lepe.weight"][:, 0, 2] = torch.tensor(np.asarray(ours.conv.get_value()).T)
    zeros = {name: torch.zeros_like(value) for name, value in theirs.state_dict().items()}
    theirs.load_state_dict(zeros | weights)
    angle = np.arange(13)[:, None] * np.repeat(10_000.0 ** -np.linspace(0, 1, 2), 2)
    sin, cos = (torch.tensor(function(angle), dtype=torch.float32) for function in (np.sin, np.cos))
    image = torch.tensor(x).permute(0, 2, 1)[:, :, None]
    out = theirs(image, sin, cos)[:, :, 0].permute(0, 2, 1).detach().numpy()
    np.testing.assert_allclose(ours(x, np.ones((2, 13), bool)), out, rtol=1e-4, atol=1e-5)
