"""synthesizer: its kinds, and the mixture with attention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal
from lra.errors import UsageError
from lra.models.attention.synthesizer import KINDS

from ..core import assert_equals_oracle, subject

MASK, X = masks(24), normal(6, 24, 10)


@parametrize_with_checks(["synthesizer"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize("dot_product", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_formula(kind, dot_product):
    assert_equals_oracle(subject("synthesizer", kind=kind, dot_product=dot_product, rank=3), 1, 13)


@pytest.mark.parametrize("longest", [1, 2, 12, 16])
def test_factors_of_any_length(longest):
    assert_equals_oracle(subject("synthesizer", longest, kind="factorized_dense", dot_product=False), longest)


@pytest.mark.parametrize("kind", ["random", "factorized_random"])
def test_random_attention_does_not_read_the_tokens(kind):
    s, y = subject("synthesizer", kind=kind, dot_product=False), normal(*X.shape, seed=1)
    np.testing.assert_allclose(s(X + y, MASK)[MASK], (s(X, MASK) + s(y, MASK))[MASK], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["dense", "factorized_dense"])
def test_dense_attention_reads_a_token_s_own_content_only(kind):
    """The shares of other tokens, whose values do not change, are the same whatever content they have."""
    s = subject("synthesizer", kind=kind, dot_product=False)
    y = normal(*X.shape, seed=1)
    first = np.arange(24)[:, None] < 1
    at = lambda others: s(np.where(first, X, others), MASK)[MASK[:, 0], 0]
    np.testing.assert_allclose(at(X + y), at(X) + at(y) - at(0 * y), rtol=1e-4, atol=1e-5)
    doubled = lambda x: s(np.where(first, 2 * X, x), MASK)[MASK[:, 0], 0]
    assert np.abs(doubled(y) - doubled(0 * y) - at(y) + at(0 * y)).max() > 1e-3


def test_without_its_synthetic_part_it_is_softmax_attention():
    """alpha = 0."""
    s, dense = subject("synthesizer"), subject("transformer")
    module, projections = s.module, dense.module
    for name in ("q", "k", "v", "out"):
        getattr(module, name).kernel.set_value(getattr(projections, name).kernel.get_value())
    module.mixture.set_value(jnp.array(-100.0))
    np.testing.assert_allclose(module(X, MASK)[MASK], dense(X, MASK)[MASK], rtol=1e-5, atol=1e-5)


EXTRA = {
    "random": 3 * 24 * 24,
    "factorized_random": 2 * 3 * 24 * 2,
    "dense": 10 * 12 + 12 + 12 * 24 + 3 * 24,
    "factorized_dense": 10 * 12 + 12 + 12 * 10 + 3 * 10,  # 5 + 5
}


@pytest.mark.parametrize("kind", KINDS)
def test_parameters(kind):
    for dot_product, projections in ((False, 2 * 10 * 12), (True, 4 * 10 * 12 + 1)):
        s = subject("synthesizer", kind=kind, dot_product=dot_product, rank=2)
        assert sum(x.size for x in jax.tree.leaves(s.params)) == projections + EXTRA[kind]


@pytest.mark.parametrize(("name", "value"), [("kind", "sparse"), ("rank", 0)])
def test_impossible_options_are_refused(name, value):
    with pytest.raises(UsageError, match=rf"synthesizer\.{name} = '?{value}"):
        subject("synthesizer", **{name: value})
