"""Full float32 products on accelerators too: their default is less precise than comparisons with the oracles need."""

import jax
import pytest


@pytest.fixture(autouse=True)
def _exact_products():
    with jax.default_matmul_precision("highest"):
        yield
