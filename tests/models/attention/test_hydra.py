"""hydra: its matrix, its diagonal, and its two directions."""

import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import Subject, masks, normal
from lra.errors import UsageError

from ..core import assert_equals_oracle, changed, subject

X, MASK = normal(6, 13, 10), masks(13)
STATE, HEADS, WIDTH = 4, 3, 24  # of the layers below


@parametrize_with_checks(["hydra"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(
    ("options", "lengths"), [({"state": 4}, [1, 3, 13]), ({"state": 3, "expand": 1, "conv": 1}, [7])], ids=str
)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("hydra", **options), *lengths)


def test_tokens_in_reverse_swap_the_directions():
    def swap(name: str, x: np.ndarray) -> np.ndarray:
        """B, C and dt of one direction for those of the other, and the taps from the other end."""
        size = 2 * STATE
        if "into" in name:
            bc, dt = 2 * WIDTH + np.arange(2 * size), 2 * WIDTH + 2 * size + np.arange(2 * HEADS)
            return x[:, [*range(2 * WIDTH), *np.roll(bc, size), *np.roll(dt, HEADS)]]
        if "conv" in name:
            x = x[..., [*range(WIDTH), *(WIDTH + np.roll(np.arange(2 * size), size))]]
            return x if "bias" in name else x[::-1]
        return x

    out = changed(subject("hydra", state=STATE), swap)(X[:, ::-1], MASK[:, ::-1])[:, ::-1]
    np.testing.assert_allclose(out[MASK], subject("hydra", state=STATE)(X, MASK)[MASK], rtol=1e-4, atol=1e-5)


def test_only_the_diagonal_takes_a_token_to_itself():
    zero = lambda name, x: np.zeros_like(x) if "skip" in name or "diagonal" in name else x
    s = changed(subject("hydra", state=STATE), zero)
    out, alone = s(X, MASK), MASK.sum(1) == 1
    assert not out[alone].any()
    assert (np.abs(out[~alone][MASK[~alone]]).max(-1) > 1e-3).all()


def test_gaps_are_as_if_they_were_not_there():
    s, real = subject("hydra", state=STATE), MASK[-1]
    alone = s(X[-1:, real], np.ones((1, real.sum()), bool))[0]
    np.testing.assert_allclose(s(X, MASK)[-1, real], alone, rtol=1e-4, atol=1e-5)


def test_begins_as_the_authors_do():
    layer = Subject(subject("hydra").variant, scatter=0.0).module
    dt = np.log1p(np.exp(layer.dt_bias.get_value()))
    assert (dt >= 1e-3 - 1e-6).all()
    assert (dt <= 1e-1 + 1e-6).all()
    assert (layer.log_a.get_value() == 0).all()
    assert (layer.skip.get_value() == 1).all()


@pytest.mark.parametrize(
    ("option", "value", "what"),
    [("state", 0, "at least 1"), ("expand", 0, "at least 1"), ("conv", 0, "at least 1"), ("conv", 4, "odd")],
)
def test_impossible_sizes_are_refused(option, value, what):
    with pytest.raises(UsageError, match=rf"hydra\.{option} = {value} must be {what}"):
        subject("hydra", **{option: value})
