"""Many sequences at once: CUDA starts 65,535 blocks of threads along an axis of a grid, but for the first. A TPU has
1 MiB of scalar memory for what a kernel knows of each sequence.
"""

import jax
import jax.numpy as jnp
import pytest

from lra.models.kernels.linear_attention import linear_attention
from lra.models.kernels.recurrence import diagonal_recurrence
from lra.models.kernels.softmax import CAUSAL, Dropout, attend
from lra.targets import compile_for

from .grids import MOST, grids
from .where import needs_compiler

pytestmark = pytest.mark.compilers

SEEDS, BATCH, HEADS = 3, 30_000, 2
OPS = {
    "softmax": (lambda x: attend(x, x, x, pattern=CAUSAL, backend="mosaic_gpu")[0], (HEADS, 16), 3),
    "linear": (lambda x: linear_attention(x, x, x, causal=True, backend="mosaic_gpu"), (HEADS, 16), 4),
    "recurrence": (lambda x: diagonal_recurrence(x, x, direction="both", backend="mosaic_gpu"), (HEADS * 128,), 2),
}


@pytest.mark.parametrize("op", OPS)
def test_more_sequences_than_a_grid_has_blocks_along_most_axes(op):
    """Under vmap over seeds, forward and backward."""
    needs_compiler("hopper")
    function, state, kernels = OPS[op]
    gradient = jax.vmap(jax.value_and_grad(lambda x: function(x).astype(jnp.float32).sum()))
    found = grids(compile_for("hopper", gradient, jax.ShapeDtypeStruct((SEEDS, BATCH, 100, *state), jnp.bfloat16)))
    assert len(found) == kernels
    for grid in found:
        assert all(blocks <= most for blocks, most in zip(grid, MOST)), grid
        assert grid[0] * grid[1] * grid[2] >= SEEDS * BATCH * HEADS


def test_more_sequences_than_scalar_memory_has_seeds_for():
    needs_compiler("v5e")
    dropout = Dropout(0.1, jax.random.key(0))
    function = lambda x: attend(x, x, x, dropout=dropout, backend="mosaic_tpu")[0]
    gradient = jax.vmap(jax.value_and_grad(lambda x: function(x).astype(jnp.float32).sum()))
    program = compile_for("v5e", gradient, jax.ShapeDtypeStruct((SEEDS, 40_000, 20, HEADS, 8), jnp.bfloat16))
    assert program.as_text().count('custom_call_target="tpu_custom_call"') == 3 * 2  # in two parts
