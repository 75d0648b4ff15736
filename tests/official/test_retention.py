"""retention against naive_retention of flash-linear-attention 0.6.0, which has the decays and no rotation.

That function is causal: here it runs both ways, and each token's own part is subtracted once. Rotation, norm, gate and
projections are ours; the norm undoes its division by sqrt(head_dim). The largest difference was 5e-7, of outputs up to
2.9.
"""

import numpy as np
import pytest
from flax import nnx

from lra.checks.subject import normal
from lra.models.attention.angles import rotate
from lra.models.attention.multihead import merge_heads, split_heads

from .ours import both_ways, built, heads_first

theirs = pytest.importorskip("fla.ops.retention.naive")


def test_equals_the_two_directions():
    ours, x = built("retention", 13), normal(2, 13, 12)
    q, k, v = (split_heads(project(x), 3) for project in (ours.q, ours.k, ours.v))
    q, k, v = heads_first(rotate(q)), heads_first(rotate(k)), heads_first(v)
    own = (q * k).sum(-1, keepdim=True) / 2 * v
    y = (both_ways(theirs.naive_retention, q, k, v) - own).transpose(1, 2).numpy()
    out = ours.out(nnx.silu(ours.gate(x)) * merge_heads(ours.norm(2 * y)))
    np.testing.assert_allclose(ours(x, np.ones((2, 13), bool)), out, rtol=1e-4, atol=1e-5)
