"""bigbird against transformers 5.24.0, a port of the authors' code, with our random blocks in place of its own.

The largest difference was 6e-7, of outputs up to 2.2.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from lra.checks.subject import normal

from .ours import built, load, tensor, torch, weight

theirs = pytest.importorskip("transformers.models.big_bird.modeling_big_bird")


def test_equals_transformers():
    config = theirs.BigBirdConfig(
        hidden_size=12, num_attention_heads=3, block_size=4, num_random_blocks=2, use_bias=False
    )  # fmt: skip
    ours, x = built("bigbird", 32, block=4, random=2), normal(2, 32, 12)
    module = theirs.BigBirdBlockSparseAttention(config)
    load(module, {"query.weight": weight(ours.q), "key.weight": weight(ours.k), "value.weight": weight(ours.v)})
    chosen = np.asarray(ours.core.random_blocks(8, jnp.array([7])))[0, 1:-1]  # none for the first and the last block
    module._bigbird_block_rand_mask_with_head = lambda **sizes: chosen.swapaxes(0, 1)
    blocked, *masks = theirs.BigBirdModel.create_masks_for_block_sparse_attn(torch.ones(2, 32), 4)
    out = module(tensor(x), *masks, blocked, blocked)[0].detach().numpy() @ np.asarray(ours.out.kernel.get_value())
    np.testing.assert_allclose(ours(x, np.ones((2, 32), bool)), out, rtol=1e-4, atol=1e-5)
