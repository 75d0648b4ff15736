"""The kernel for Hopper, interpreted. The interpreter of JAX 0.12 finds races; that of 0.10 finds none."""

import jax.numpy as jnp
import pytest

from ..where import interpret
from .core import Case, assert_agrees, assert_maps

pytestmark = pytest.mark.interpreter

# lengths at the edges of slots, which have 8 to 64 tokens
CASES = [
    Case(1, 3, constant=True, direction="both"),
    Case(31, 130, constant=True, complex_=True, direction="both", batch=1),
    Case(17, 3, complex_=True, direction="both", batch=1),
    Case(33, 3, dtype=jnp.bfloat16, direction="backward"),
    Case(64, 5, constant=True, dtype=jnp.bfloat16, batch=1),
    Case(65, 5, direction="both", batch=1),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_the_formula(case):
    assert_agrees(case, "mosaic_gpu", interpret("mosaic_gpu"))


def test_maps():
    assert_maps("mosaic_gpu", interpret("mosaic_gpu"))
