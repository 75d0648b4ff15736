"""nalaformer: its formula, and what the norm of a query does."""

import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import normal
from lra.errors import UsageError
from lra.models.attention import nalaformer as module

from ..core import assert_equals_oracle, subject


@parametrize_with_checks(["nalaformer"])
def test_is_what_it_says(check):
    check()


def test_equals_the_formula():
    assert_equals_oracle(subject("nalaformer"), 2, 13)


def test_features_keep_signs_and_larger_norms_make_them_sharper():
    """Opposite vectors have no feature in common; the shares of a query's largest feature grow with its norm."""
    x = normal(1, 20, 6)[0]
    assert not (np.concatenate(module.halves(x, 3.0), -1) * np.concatenate(module.halves(-x, 3.0), -1)).any()
    unit = x / np.linalg.norm(x, axis=-1, keepdims=True)
    shares = []
    for norm in (0.1, 1.0, 4.0):
        features = np.concatenate(module.halves(unit, 3 * (0.5 + np.tanh(norm))), -1)
        shares.append((features / features.sum(-1, keepdims=True)).max(-1))
    assert (np.diff(shares, axis=0) > 0).all()


def test_unrotated_weights_add_up_to_one(monkeypatch):
    """Without rotation, and with the same value at all tokens, the attention gives this value back."""
    monkeypatch.setattr(module, "rotate", lambda x: x)
    layer = subject("nalaformer").module
    layer.v.kernel.set_value(0 * layer.v.kernel.get_value())
    monkeypatch.setattr(layer, "v", lambda x: np.ones((*x.shape[:2], 12), np.float32))
    monkeypatch.setattr(module, "convolve", lambda v, *taps, before: 0 * v)
    seen = []
    monkeypatch.setattr(layer, "norm", lambda y: seen.append(y) or y)
    layer(normal(1, 9, 10), np.ones((1, 9), bool))
    np.testing.assert_allclose(seen[0], 1, rtol=1e-3)


def test_odd_heads_are_refused():
    with pytest.raises(UsageError, match="qkv_dim / heads = 3 must be even"):
        subject("nalaformer", head_dim=3)
