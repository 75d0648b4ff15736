"""h_transformer_1d against the authors' code, github.com/google/flaxformer at 399ea3a, without its bias for distances.

It runs where flaxformer and what it imports are on the path. The largest difference was 4e-7, of outputs up to 2. Only
full sequences are compared: that code adds up values of padding, and takes means of means.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lra.checks.subject import normal
from lra.models.attention import VARIANTS, Shape

h_attention = pytest.importorskip("flaxformer.architectures.h_transformer.h_attention")


@pytest.mark.parametrize(("block", "length"), [(2, 4), (2, 32), (4, 64), (16, 128)])
def test_equals_the_authors_code(block, length):
    theirs = h_attention.OneDimEncoderSelfAttention(num_heads=3, num_clusters=block, use_rpb=False)
    q, k, v = normal(3, 2, length, 3, 4)
    attend = lambda module: module._hierarchical_attention_fn(jnp.asarray(q / 2), jnp.asarray(k), jnp.asarray(v))
    expected = np.asarray(theirs.apply({}, method=attend)).reshape(v.shape)
    variant = VARIANTS["h_transformer_1d"]
    ours = variant.build(Shape(12, 12, 3, length), nnx.Rngs(0), variant.options(block=block))
    out = ours.core(q, k, v, np.ones((2, length), bool))
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
