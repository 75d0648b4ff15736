"""based, its linear attention, against naive_parallel_based of flash-linear-attention 0.6.0.

That function is causal: here it runs both ways, and each token's own part is subtracted once. The largest difference
was 3e-7, of outputs up to 1.5.
"""

import numpy as np
import pytest

from lra.checks.subject import normal
from lra.models.attention.multihead import split_heads

from .ours import both_ways, built, heads_first, torch

theirs = pytest.importorskip("fla.ops.based.naive")


def test_linear_attention_equals_the_two_directions():
    ours, x = built("based", 13, features=4), normal(2, 13, 12)
    q, k, v = (heads_first(split_heads(project(x), 3)) for project in (ours.q, ours.k, ours.v))

    def sums(v: torch.Tensor) -> torch.Tensor:
        u = (q * k).sum(-1, keepdim=True) / 2
        return both_ways(lambda *x: theirs.naive_parallel_based(*x, use_norm=False), q, k, v) - (1 + u + u**2 / 2) * v

    y = sums(v) / sums(torch.ones_like(v[..., :1]))
    out = y.transpose(1, 2).reshape(2, 13, 12).numpy() @ np.asarray(ours.out.kernel.get_value())
    np.testing.assert_allclose(ours(x, np.ones((2, 13), bool)), out, rtol=1e-4, atol=1e-5)
