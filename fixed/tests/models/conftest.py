"""Full float32 products also on accelerators, whose default is less than the oracles are compared with."""

import jax
import pytest


@pytest.fixture(autouse=True)
def _exact_products():
    with jax.default_matmul_precision("highest"):
        yield
