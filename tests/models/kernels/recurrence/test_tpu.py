"""The TPU kernel, interpreted. The interpreter fills uninitialised memory with NaN and finds races."""

import jax.numpy as jnp
import pytest

from ..where import interpret
from .core import Case, assert_agrees, assert_maps

pytestmark = pytest.mark.interpreter

# lengths at the edges of tiles of 16 tokens and blocks of 512
CASES = [
    Case(1, 3, constant=True, direction="both"),
    Case(15, 130, constant=True, complex_=True, direction="both"),
    Case(16, 300, complex_=True, direction="both", batch=1),
    Case(33, 3, dtype=jnp.bfloat16, direction="backward"),
    Case(513, 5, constant=True, dtype=jnp.bfloat16, batch=1),  # two blocks
    Case(521, 5, direction="both", batch=1),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_the_formula(case):
    assert_agrees(case, "mosaic_tpu", interpret("mosaic_tpu"))


def test_maps():
    assert_maps("mosaic_tpu", interpret("mosaic_tpu"))
