"""`make test` runs the checks of what a variant is on all variants, and the checks of how one is built on a few."""

from pathlib import Path

import pytest

# a change of what all variants share shows on these: each form of a variant and each op is among them
FEW = ("local", "performer", "luna", "s5")
COMMON = ("bfloat16", "lengths", "inputs", "gradients", "transformations", "restore", "parameters", "memory")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent and item.name.startswith("test_is_what_it_says["):
            variant, _, check = item.name.removesuffix("]").partition("[")[2].partition("-")
            if check in COMMON and variant not in FEW:
                item.add_marker(pytest.mark.common)
