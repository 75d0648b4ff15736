"""linear: its formula."""

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ..core import assert_equals_oracle, subject


@settings(max_examples=3, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
@given(length=st.integers(1, 20), heads=st.integers(1, 5), head_dim=st.integers(1, 6))
def test_equals_the_formula(length, heads, head_dim):
    assert_equals_oracle(subject("linear", heads=heads, head_dim=head_dim), length)


def test_epsilon_is_in_the_denominator():
    assert_equals_oracle(subject("linear", epsilon=0.5), 7)
