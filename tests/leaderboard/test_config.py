"""The configuration of a record is data: plain bindings, each once."""

import ast
from typing import Any

import gin
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from made_records import GIN_TRICKS

from lra.errors import UserError
from lra.leaderboard.config import bindings_of, plain


@pytest.mark.parametrize(
    "trick", [*GIN_TRICKS, "local.radius = " + "(" * 5000, "x.y = " + "1" * 20_000, "x.y = -" + "-" * 9000]
)
def test_only_plain_bindings_are_taken(trick):
    with pytest.raises(UserError, match="plain"):
        plain([trick])
    with pytest.raises(UserError, match="plain"):
        bindings_of(f"{trick}\n")


def test_a_parameter_is_bound_once():
    with pytest.raises(UserError, match="bound twice"):
        bindings_of("a.b = 1\na.b = 2\n")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=90),
    lambda inner: (
        st.lists(inner, max_size=9)
        | st.lists(inner, max_size=9).map(tuple)
        | st.dictionaries(st.text(max_size=9), inner, max_size=9)
    ),
    max_leaves=12,
)


@gin.configurable("configured_in_a_test")
def configured_in_a_test(first: Any, second: Any) -> None:
    """Something whose operative configuration gin writes."""


@given(values, values)
@example("x" * 300, tuple(range(100)))
def test_what_gin_writes_of_plain_values_is_read_back(first, second):
    """Records before schema 3 have such text; gin breaks long values into several lines."""
    gin.clear_config()
    gin.bind_parameter("configured_in_a_test.first", first)
    gin.bind_parameter("configured_in_a_test.second", second)
    configured_in_a_test()
    text = "\n".join(line for line in gin.operative_config_str().splitlines() if line and line[0] != "#")
    gin.clear_config()
    bound = bindings_of(text)
    assert {name.rpartition(".")[2]: ast.literal_eval(value) for name, value in bound.items()} == {
        "first": first, "second": second,
    }  # fmt: skip
