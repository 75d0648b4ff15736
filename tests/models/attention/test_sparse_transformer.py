"""sparse_transformer: both patterns, and their limits."""

import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal
from lra.errors import UsageError

from ..core import assert_equals_oracle, subject, with_weights_of


@parametrize_with_checks(["sparse_transformer"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(
    ("options", "lengths"),
    [
        ({"stride": 5, "summary": 2}, [1, 10, 13]),
        ({"stride": 4, "summary": 3}, [11]),
        ({"stride": 3, "summary": 9}, [7]),
        ({"stride": 1}, [4]),
        ({"pattern": "strided", "stride": 4}, [1, 12, 13]),
        ({"pattern": "strided", "stride": 1}, [5]),
        ({"pattern": "strided"}, [17]),
    ],
    ids=str,
)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("sparse_transformer", **options), *lengths)


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 30},
        {"stride": 4, "summary": 4},
        {"pattern": "strided", "stride": 24},
        {"pattern": "strided", "stride": 1},
    ],
    ids=str,
)
def test_one_block_or_all_columns_is_softmax_attention(options):
    x, mask, dense = normal(6, 13, 10), masks(13), subject("transformer")
    out = with_weights_of(subject("sparse_transformer", **options), dense)(x, mask)
    np.testing.assert_allclose(out[mask], dense(x, mask)[mask], rtol=1e-5, atol=1e-6)


def test_reach_of_fixed():
    """In blocks of five, three heads see the last pair, the pair before it, and the last pair again."""
    reach = subject("sparse_transformer", stride=5, summary=2).module.core.reach(12)
    assert reach.sum(1).tolist() == [5 + 4 + 1] * 10 + [2 + 4 + 4] * 2
    assert np.flatnonzero(reach[0]).tolist() == [0, 1, 2, 3, 4, 6, 7, 8, 9, 11]


def test_the_stride_is_the_root_of_the_longest_length():
    assert [subject("sparse_transformer", length).module.core.stride for length in (1, 16, 17, 1024, 1025)] == [
        1,
        4,
        5,
        32,
        33,
    ]


@pytest.mark.parametrize("options", [{"pattern": "dense"}, {"stride": 0}, {"summary": 0}], ids=str)
def test_impossible_options_are_refused(options):
    (name, value), *_ = options.items()
    with pytest.raises(UsageError, match=rf"sparse_transformer\.{name} = '?{value}"):
        subject("sparse_transformer", **options)
