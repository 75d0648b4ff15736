"""lightconv: its kernels, and how far it sees."""

import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import normal
from lra.errors import UsageError

from ..core import assert_equals_oracle, subject


@parametrize_with_checks(["lightconv"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(
    ("options", "lengths"),
    [({"kernel": 5}, [1, 2, 12, 13]), ({"kernel": 3, "dynamic": True}, [1, 13]), ({"kernel": 1}, [4]), ({}, [7])],
    ids=str,
)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("lightconv", **options), *lengths)


@pytest.mark.parametrize("dynamic", [False, True])
def test_it_sees_half_a_kernel_far_and_its_weights_add_up_to_one(dynamic):
    s, x, mask = (
        subject("lightconv", kernel=5, dynamic=dynamic),
        np.tile(normal(1, 1, 10), (1, 13, 1)),
        np.ones((1, 13)),
    )
    mask = mask.astype(bool)
    y = s(x, mask)
    gated = np.asarray(s.module.into(x[0, 0]))
    u = gated[: len(gated) // 2] / (1 + np.exp(-gated[len(gated) // 2 :]))
    np.testing.assert_allclose(y[0, 2:-2], np.tile(np.asarray(s.module.out(u)), (9, 1)), rtol=1e-4, atol=1e-5)
    x[0, 6] += 1
    changed = np.abs(s(x, mask) - y).max(-1)[0] > 1e-6
    assert np.flatnonzero(changed).tolist() == [4, 5, 6, 7, 8]


@pytest.mark.parametrize("kernel", [0, 4, -3])
def test_a_kernel_without_a_middle_is_refused(kernel):
    with pytest.raises(UsageError, match=rf"lightconv\.kernel = {kernel} must be odd"):
        subject("lightconv", kernel=kernel)
