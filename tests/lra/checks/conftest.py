"""The registry of variants, which tests fill and leave as they found it."""

import pytest

from lra.models.attention import VARIANTS


@pytest.fixture
def registry():
    before = set(VARIANTS)
    yield
    for name in set(VARIANTS) - before:
        del VARIANTS[name]
