"""reformer: who meets whom, and how often that counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal
from lra.errors import UsageError
from lra.models.attention.reformer import factors_of
from lra.models.kernels.softmax import attend

from ..core import assert_equals_oracle, subject

MASK, X = masks(24), normal(6, 24, 10)


@parametrize_with_checks(["reformer"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(
    ("options", "lengths"),
    [
        ({"chunk": 4, "buckets": 6, "after": 1}, [1, 7, 24]),
        ({"chunk": 3, "buckets": 2, "rounds": 3, "before": 2}, [13]),
        ({"chunk": 5, "before": 0, "rounds": 1}, [13]),
        ({"chunk": 5, "buckets": 200, "before": 0, "after": 1}, [20]),
        ({"chunk": 1, "before": 0}, [6]),
        ({}, [7]),
    ],
    ids=str,
)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("reformer", **options), *lengths)


def test_one_chunk_is_attention_to_all_others_with_unit_keys():
    s = subject("reformer", chunk=24)
    module = s.module
    qk, v = (np.asarray(project(X)).reshape(6, 24, 3, 4) for project in (module.qk, module.v))
    unit = qk / np.linalg.norm(qk, axis=-1, keepdims=True)
    allowed = MASK[:, None, None, :] & ~np.eye(24, dtype=bool)
    out = attend(2 * qk, unit, v, allowed=allowed)[0]  # 2 = sqrt(head_dim), by which attend divides
    out = jnp.where(allowed.any(-1)[:, 0, :, None, None], out, v)
    expected = np.asarray(module.out(out.reshape(6, 24, 12)))
    np.testing.assert_allclose(s(X, MASK)[MASK], expected[MASK], rtol=1e-4, atol=1e-5)


def test_a_pair_met_in_every_round_counts_once():
    one, four = subject("reformer", chunk=24, rounds=1), subject("reformer", chunk=24, rounds=4)
    np.testing.assert_allclose(four(X, MASK)[MASK], one(X, MASK)[MASK], rtol=1e-5, atol=1e-6)


def test_a_token_that_meets_nobody_keeps_its_value():
    s = subject("reformer", chunk=1, before=0)
    module = s.module
    np.testing.assert_allclose(s(X, MASK)[MASK], np.asarray(module.out(module.v(X)))[MASK], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("buckets", [2, 6, 200])
def test_tokens_of_one_direction_meet(buckets):
    """Of twelve tokens of one direction and twelve of the opposite, in turn, each sees its own kind."""
    s = subject("reformer", chunk=12, before=0, buckets=buckets)
    sizes = np.exp(normal(24)) * (-1) ** np.arange(24)
    x = sizes[None, :, None] * normal(1, 1, 10, seed=1)
    mask = np.ones((1, 24), bool)
    alone = s(x[:, ::2], mask[:, ::2])
    np.testing.assert_allclose(s(x, mask)[:, ::2], alone, rtol=1e-5, atol=1e-6)


def test_the_last_chunk_is_not_the_first_ones_neighbour():
    """With chunks of one token and one before, the first of the sorted tokens meets nobody, in every row and head."""
    s = subject("reformer", chunk=1, rounds=1, buckets=2)
    module, x = s.module, X[:1]
    v, mask = np.asarray(module.v(x)), np.ones((1, 24), bool)
    module.out.kernel.set_value(jnp.eye(12))
    out = np.asarray(module(x, mask))
    kept = np.isclose(out, v, rtol=1e-5, atol=1e-6).reshape(24, 3, 4).all(-1)
    np.testing.assert_array_equal(kept.sum(0), 1)


@pytest.mark.parametrize("buckets", [2, 128, 130, 200, 256, 1000])
def test_factors(buckets):
    factors = factors_of(buckets)
    product = np.prod(factors)
    assert all(factor % 2 == 0 for factor in factors)
    assert len(factors) == 1 + (buckets > 128)
    assert buckets <= product < 1.2 * buckets


@pytest.mark.parametrize("every", [0, 3])
def test_redraws_at_multiples(every):
    reformer, changed = subject("reformer", chunk=4, redraw_every=every).module, []
    redraw = nnx.jit(lambda reformer, step: reformer.redraw(jax.random.key(step), step))
    for step in range(5):
        before = reformer.rotations.get_value()
        redraw(reformer, jnp.array(step))
        changed.append((reformer.rotations.get_value() != before).any())
    assert changed == [every > 0 and step % every == 0 for step in range(5)]


@pytest.mark.parametrize(
    ("name", "value"), [("chunk", 0), ("rounds", 0), ("before", -1), ("after", -1), ("buckets", 7), ("buckets", 0)]
)
def test_impossible_options_are_refused(name, value):
    with pytest.raises(UsageError, match=rf"reformer\.{name} = {value}"):
        subject("reformer", **{name: value})
