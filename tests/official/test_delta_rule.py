"""The op of the delta rule against the recurrences of flash-linear-attention.

Compared with flash-linear-attention 0.6.0 (fla.ops.*.naive) in float32: the largest difference was 8e-6.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from lra.models.kernels.delta_rule import delta_rule

torch = pytest.importorskip("torch")
pytest.importorskip("fla")


CHANNELS = {"none": 0, "token": 1, "channel": 16}  # decays of a token


@pytest.mark.parametrize("kind", CHANNELS)
def test_recurrences(kind):
    rng = np.random.default_rng(0)
    q, k, v, decay = (rng.normal(size=(2, 65, 3, width)).astype(np.float32) for width in (16, 16, 12, CHANNELS[kind]))
    k, decay = k / np.linalg.norm(k, axis=-1, keepdims=True), -abs(decay)
    beta = rng.uniform(0, 2, k.shape[:-1]).astype(np.float32)
    y = delta_rule(*map(jnp.asarray, (q, k, v, beta)), log_decay=jnp.asarray(decay) if CHANNELS[kind] else None)
    x = [torch.from_numpy(x) for x in (q, k, v, beta)]
    if kind == "none":
        from fla.ops.delta_rule.naive import delta_rule_recurrence

        heads_first = [x.transpose(1, 2).contiguous() for x in x]
        official = delta_rule_recurrence(*heads_first)[0].transpose(1, 2)
    elif kind == "token":
        from fla.ops.gated_delta_rule.naive import naive_recurrent_gated_delta_rule

        official = naive_recurrent_gated_delta_rule(*x, g=torch.from_numpy(decay[..., 0]))[0]
    else:
        from fla.ops.kda.naive import naive_recurrent_kda

        official = naive_recurrent_kda(*x[:3], g=torch.from_numpy(decay), beta=x[3])[0]
    scale = q.shape[-1] ** 0.5  # theirs divide q by it
    print("largest difference", np.abs(scale * official.numpy() - np.asarray(y)).max())
    np.testing.assert_allclose(scale * official.numpy(), y, rtol=1e-4, atol=1e-5)
