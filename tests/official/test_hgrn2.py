"""hgrn2 against naive_recurrent_gla of flash-linear-attention 0.6.0, the recurrence that its HGRN2 runs.

That function is causal: here it runs both ways, added up, as in the authors' bidirectional module. Gates, norm and
projections are ours. The largest difference was 7e-7, of outputs up to 3.2.
"""

import numpy as np
import pytest
from flax import nnx

from lra.checks.subject import normal
from lra.models.attention.multihead import merge_heads, split_heads

from .ours import both_ways, built, heads_first

theirs = pytest.importorskip("fla.ops.gla.naive")


def test_equals_the_two_directions():
    ours, x = built("hgrn2", 13), normal(2, 13, 12)
    gate = ours.forget(x)
    inputs = nnx.sigmoid(ours.output(x)), nnx.sigmoid(-gate), nnx.silu(ours.input(x)), nnx.log_sigmoid(gate)
    lengths_first = lambda x: x.transpose(1, 2)
    recurrence = lambda *x: lengths_first(theirs.naive_recurrent_gla(*map(lengths_first, x))[0])
    y = both_ways(recurrence, *(heads_first(split_heads(x, 3)) for x in inputs)) * 2  # it divides by sqrt(head_dim)
    out = ours.out(ours.norm(merge_heads(lengths_first(y).numpy())))
    np.testing.assert_allclose(ours(x, np.ones((2, 13), bool), None)[0], out, rtol=1e-4, atol=1e-5)
