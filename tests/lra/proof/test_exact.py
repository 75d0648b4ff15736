"""What counts as wrong: an error of 1 % anywhere, in every type, and not what rounding does."""

import jax
import jax.numpy as jnp
import numpy as np
import planted
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lra.models.kernels import linear_attention, recurrence, softmax
from lra.models.kernels.softmax import CAUSAL, FULL, First, Window
from lra.proof.call import Call, drawn
from lra.proof.exact import TOLERANCES, function_of, off, tolerance, widened, wrong
from lra.proof.worker import results

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 4))


@given(SHAPES, st.integers(0, 2**32 - 1), st.sampled_from((0.01, -0.02, 0.1)))
def test_a_share_is_found_whatever_the_size_of_the_examples(shape, seed, share):
    rng = np.random.default_rng(seed)
    expected = rng.standard_normal(shape) * 10.0 ** rng.integers(-6, 6)
    assert off((1 + share) * expected, expected) == pytest.approx(abs(share), rel=0.01)


def test_one_wrong_token_of_many_is_found():
    rng = np.random.default_rng(0)
    expected = rng.standard_normal((4, 1 << 16, 4))
    given = expected.copy()
    given[2, 40_000] = 0
    assert off(given, expected) > max(TOLERANCES.values())
    small = expected * np.array([1, 1, 1e-3, 1])[:, None, None]  # an example with small numbers has its own measure
    given = small.copy()
    given[2] = 0
    assert off(given, small) > max(TOLERANCES.values())


def test_what_is_not_a_number_is_said_with_its_place():
    expected = {"output": np.ones((2, 3, 4))}
    given = {"output": expected["output"].copy()}
    given["output"][1, 2, 3] = np.nan
    given["output"][1, 2, 2] = np.inf
    most = {"output": 1.0}
    assert wrong(given, expected, most, 1) == "the output is not finite at [1, 2, 2] and 1 more places"
    alone = {"output": np.full((2, 3, 4), -np.inf)}  # the denominators of a query without a key
    assert wrong(alone, alone, most, 1) == ""
    assert wrong(expected, alone, most, 1) == "the output is finite where XLA's is not"


def calls():
    """A call of each op, in bfloat16."""
    array = lambda *shape, dtype=jnp.bfloat16: jax.ShapeDtypeStruct(shape, dtype)
    q, mask = array(2, 90, 2, 16), array(2, 90, 1, dtype=bool)
    seeds = array(2, 2, dtype=jnp.int32)
    decay, channels = array(2, 90, 2, 16, dtype=jnp.float32), array(16, dtype=jnp.float32)
    for pattern in (FULL, Window(8, 8) | First(2)):
        static = softmax.operands.Static(pattern, 0.1, True)
        yield softmax.op.OP, static, softmax.operands.Operands(q, q, q, mask, None, None, seeds)
    static = softmax.operands.Static(CAUSAL, 0.0, False)
    yield softmax.op.OP, static, softmax.operands.Operands(q, q, q, None, None, None, None)
    static = linear_attention.operands.Static(True)
    yield linear_attention.op.OP, static, linear_attention.operands.Operands(q, q, q, decay)
    static = recurrence.operands.Static((False, True), jnp.bfloat16)
    yield recurrence.op.OP, static, recurrence.operands.Operands(channels, array(2, 90, 16))


@pytest.mark.parametrize("case", calls(), ids=lambda case: case[0].name)
def test_rounding_is_below_the_tolerance_and_one_percent_above(case):
    op, static, x = case
    call = Call(op.name, op.module, static, x, 2)
    numbers = drawn(call)
    wide = widened(call, numbers)
    exact = results(function_of(call, "xla", wide[0]), wide[1])
    for name in ("xla", "plain"):
        if name in op.backends:
            rounded = results(function_of(call, name), numbers)
            assert max(off(rounded[part], exact[part], 2) for part in exact) < tolerance(call)
    assert tolerance(call) < 0.009


def test_operands_are_the_same_each_time():
    call = Call("planted op", "planted", planted.Static(), planted.SHAPES, 3)
    one, other = drawn(call), drawn(call)
    assert one.x.shape == (3, *planted.SHAPES.x.shape)
    np.testing.assert_array_equal(one.x, other.x)
    assert not np.array_equal(one.x[0], one.x[1])
