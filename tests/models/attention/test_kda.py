"""kda: its formula, and its decay."""

import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal

from ..core import assert_equals_oracle, changed, subject


@parametrize_with_checks(["kda"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(("options", "lengths"), [({}, [1, 13]), ({"conv": 1, "negative": True}, [7, 20])], ids=str)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("kda", **options), *lengths)


def test_a_state_that_forgets_all_leaves_a_token_alone():
    change = lambda name, x: np.full_like(x, 1e4) if "dt_bias" in name else x
    s = changed(subject("kda", conv=1), change)
    x, mask = normal(6, 13, 10), masks(13)
    other = np.where(np.arange(13)[:, None] == 5, x, normal(6, 13, 10, seed=1))
    seen = mask[:, 5]
    np.testing.assert_allclose(s(other, mask)[seen, 5], s(x, mask)[seen, 5], rtol=1e-4, atol=1e-5)
