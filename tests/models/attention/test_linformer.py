"""linformer: its formula, shared and not, and below its maximal length."""

import pytest

from lra.checks import parametrize_with_checks
from lra.errors import UsageError

from ..core import assert_equals_oracle, subject


@parametrize_with_checks(["linformer"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(
    ("options", "lengths"), [({"rank": 3}, [1, 2, 24]), ({"rank": 30, "share": "headwise"}, [7])], ids=str
)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("linformer", **options), *lengths)


def test_key_value_sharing_has_one_matrix():
    assert subject("linformer", rank=3, share="key-value").module.core.f is None
    assert subject("linformer", rank=3, share="headwise").module.core.f.shape == (3, 24)


def test_an_unknown_sharing_is_refused():
    with pytest.raises(UsageError, match=r"linformer\.share = 'layerwise'"):
        subject("linformer", share="layerwise")
