"""mlstm beside `transformers.models.xlstm` of transformers 5.24, the authors' 7B model: its memory, one way and without
the 10^-6 that it adds to the normaliser. Its block is another, without convolution and with gates that are capped. The
largest difference seen is 4e-5, of outputs up to 7.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from lra.checks.subject import normal
from lra.models.attention.mlstm import read_memory

torch = pytest.importorskip("torch")
official = pytest.importorskip("transformers.models.xlstm.modeling_xlstm")


def test_the_memory_is_theirs():
    batch, heads, length, width = 2, 3, 50, 8
    q, k, v = normal(3, batch, heads, length, width)
    log_i, forget = 3 * normal(2, batch, heads, length, seed=1)
    theirs = official.mlstm_recurrent_sequence_native(*map(torch.tensor, (q, k, v, log_i, forget)), eps=0.0).numpy()

    two = lambda y: jnp.stack([jnp.moveaxis(y, 1, 2)] * 2, 2)  # both ways alike
    q, k, v, log_i, log_f = map(two, (q, k * width**-0.5, v, log_i, -np.logaddexp(0, -forget)))
    ours = read_memory(q, k, v, log_i, log_f)
    np.testing.assert_allclose(ours[:, :, 0], np.moveaxis(theirs, 1, 2), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(ours[:, :, 0], ours[:, :, 1])
