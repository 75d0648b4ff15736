"""hgrn beside `fla.ops.hgrn.naive` of flash-linear-attention 0.6.0, which is real and runs one way: without angles, the
real and the imaginary parts are recurrences of their own. The largest difference seen is 8e-7.
"""

import jax
import numpy as np
import pytest

from lra.checks.subject import Subject, normal
from lra.models.attention import VARIANTS

torch = pytest.importorskip("torch")
naive = pytest.importorskip("fla.ops.hgrn.naive")


def test_without_angles_it_is_the_real_recurrence_of_both_parts():
    s, x = Subject(VARIANTS["hgrn"]), normal(2, 21, 40)
    zero = lambda path, value: 0 * value if "theta" in jax.tree_util.keystr(path) else value
    params = jax.tree_util.tree_map_with_path(zero, s.params)
    ours = np.asarray(s.compiled(params, x, np.ones(x.shape[:2], bool)))

    w = {name: torch.tensor(value, dtype=torch.float32) for name, value in s.weights(params).items()}
    given, silu = torch.tensor(x), torch.nn.functional.silu
    forget = given @ w["0.forget.kernel"]
    forgotten, log_kept = torch.sigmoid(-forget), torch.nn.functional.logsigmoid(forget)
    h = 0
    for order in (lambda y: y, lambda y: y.flip(1)):
        new, log = silu(given @ w["0.input.kernel"]) * torch.cat([forgotten] * 2, -1), torch.cat([log_kept] * 2, -1)
        h = h + order(naive.naive_recurrent_hgrn(order(new), order(log))[0])
    y = torch.nn.functional.layer_norm(h, h.shape[-1:], w["0.norm.scale"], w["0.norm.bias"], 1e-5)
    theirs = (y * silu(given @ w["0.gate.kernel"])) @ w["0.out.kernel"]
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5, atol=1e-5)
