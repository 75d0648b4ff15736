"""linear: its formula."""

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lra.checks import parametrize_with_checks

from ..core import assert_equals_oracle, subject


@parametrize_with_checks(["linear"])
def test_is_what_it_says(check):
    check()


@settings(max_examples=3, phases=[Phase.generate])
@given(length=st.integers(1, 20), heads=st.integers(1, 5), head_dim=st.integers(1, 6))
def test_equals_the_formula(length, heads, head_dim):
    assert_equals_oracle(subject("linear", heads=heads, head_dim=head_dim), length)


def test_epsilon_is_in_the_denominator():
    assert_equals_oracle(subject("linear", epsilon=0.5), 7)
