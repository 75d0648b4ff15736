"""The planted variants: loaded once, since gin keeps a name for the whole process, and registered when asked."""

from pathlib import Path

import pytest

from lra import extension
from lra.models.attention import VARIANTS

PLANTED = Path(__file__).with_name("planted.py")


@pytest.fixture(scope="session")
def loaded():
    return {name: VARIANTS.pop(name) for name in extension.load(PLANTED)}


@pytest.fixture(scope="module")
def registered(loaded):
    """The planted variants are there while a module's tests run."""
    VARIANTS.update(loaded)
    yield
    for name in loaded:
        del VARIANTS[name]
