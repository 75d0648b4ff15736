"""`make test` runs the checks of what a variant is on all variants. It leaves the checks of how a variant is built, and
more sizes of the formulas, to `make test-all`, except on a few variants.
"""

from pathlib import Path

import pytest

FEW = ("local", "performer", "s5")  # a function, a module on heads, a mixer: a change of what all share shows on these
OWN = ("shape", "padding content", "causality", "order", "oracle")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent != Path(__file__).parent or item.path.stem.removeprefix("test_") in FEW:
            continue
        check = item.name.removesuffix("]").partition("-")[2] if item.name.startswith("test_is_what_it_says[") else None
        if check not in (None, *OWN) or item.name.startswith("test_equals_the_formula"):
            item.add_marker(pytest.mark.more)
