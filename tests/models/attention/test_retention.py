"""retention: its formula, its symmetry, and its limit without decay."""

import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal
from lra.errors import UsageError
from lra.models.attention import retention as module

from ..core import assert_equals_oracle, subject


@parametrize_with_checks(["retention"])
def test_is_what_it_says(check):
    check()


X = normal(6, 13, 10)


@pytest.mark.parametrize(("expand", "lengths"), [(2, [1, 13]), (1, [2, 16])])
def test_equals_the_formula(expand, lengths):
    assert_equals_oracle(subject("retention", expand=expand), *lengths)


def test_tokens_in_reverse_give_the_outputs_in_reverse():
    """Only the direction of the rotation differs, since distances have a sign. Conjugate queries and keys undo it."""
    s, mask = subject("retention"), masks(13)
    conjugate = lambda name, x: x * np.tile([1, -1], x.shape[1] // 2) if name in ("q", "k") else x
    params = {name: {"kernel": conjugate(name, x["kernel"].get_value())} for name, x in s.params[0].items()}
    turned = type(s.params)({0: params})
    out, backward = s(X, mask), np.asarray(s.compiled(turned, X[:, ::-1], mask[:, ::-1]))[:, ::-1]
    np.testing.assert_allclose(out[mask], backward[mask], rtol=1e-4, atol=1e-5)


def test_a_gamma_of_one_is_linear_attention(monkeypatch):
    monkeypatch.setattr(module, "log_gammas", np.zeros)
    monkeypatch.setattr(module, "rotate", lambda x: x)
    s, mask = subject("retention"), masks(13)
    layer = s.module
    q, k, v = (np.asarray(p(X)).reshape(6, 13, 3, -1) for p in (layer.q, layer.k, layer.v))
    y = np.einsum("bnhd,bmhd,bmhe,bm->bnhe", q, k, v, mask)
    y /= np.sqrt(np.square(y).mean(-1, keepdims=True) + 1e-6)
    gate = np.asarray(layer.gate(X))
    expected = np.asarray(layer.out(gate / (1 + np.exp(-gate)) * y.reshape(gate.shape)))
    np.testing.assert_allclose(s(X, mask)[mask], expected[mask], rtol=1e-4, atol=1e-5)


def test_odd_heads_and_no_values_are_refused():
    with pytest.raises(UsageError, match="qkv_dim / heads = 3 must be even"):
        subject("retention", head_dim=3)
    with pytest.raises(UsageError, match=r"retention\.expand = 0"):
        subject("retention", expand=0)
