"""dilated: its scales."""

import jax
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal, quick_jit
from lra.errors import UsageError

from ..core import assert_equals_oracle, subject


@parametrize_with_checks(["dilated"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(
    ("options", "lengths"),
    [
        ({"segment": 4}, [1, 2, 16, 21]),
        ({"segment": 4, "max_length": 40}, [11]),
        ({"segment": 1, "ratio": 3}, [10]),
        ({"segment": 6, "ratio": 4}, [23]),
    ],
    ids=str,
)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("dilated", **options), *lengths)


@settings(max_examples=3, phases=[Phase.generate])
@given(segment=st.integers(1, 9), ratio=st.integers(2, 4), heads=st.integers(1, 5), length=st.integers(1, 20))
def test_equals_the_formula_at_any_size(segment, ratio, heads, length):
    assert_equals_oracle(subject("dilated", heads=heads, segment=segment, ratio=ratio), length)


@pytest.mark.parametrize("segment", [24, 25, 50])
def test_one_scale_is_softmax_attention(segment):
    x, mask, dense = normal(6, 24, 10), masks(24), subject("transformer")
    out = subject("dilated", segment=segment).compiled(dense.params, x, mask)
    np.testing.assert_allclose(out[mask], dense(x, mask)[mask], rtol=1e-5, atol=1e-6)


def reaches(head: int, i: int, j: int) -> bool:
    """Whether head sees token j from token i with segments of 4, 8 and 16, sections 2.2 and 2.3."""
    return any(i // w == j // w and (i - head) % r == (j - head) % r == 0 for w, r in ((4, 1), (8, 2), (16, 4)))


def test_each_head_has_its_own_phase():
    core, (q, k, v) = subject("dilated", max_length=16, segment=4).module.core, normal(3, 12, 3, 4)
    out = lambda k, v: core(q[None], k[None], v[None], np.ones((1, 12), bool))[0]
    jacobians = quick_jit(jax.jacrev(out, (0, 1)))(k, v)  # [length, heads, head_dim, length, heads, head_dim]
    seen = sum(np.abs(x).sum((2, 5)) for x in jacobians).transpose(1, 3, 0, 2) > 0  # [heads, heads, length, length]
    for head in range(3):
        expected = [[reaches(head, i, j) for j in range(12)] for i in range(12)]
        np.testing.assert_array_equal(seen[head, head], expected)
    assert not seen[~np.eye(3, dtype=bool)].any()


@pytest.mark.parametrize("options", [{"segment": 0}, {"ratio": 1}], ids=str)
def test_impossible_options_are_refused(options):
    with pytest.raises(UsageError, match=rf"dilated\.{next(iter(options))}"):
        subject("dilated", **options)
