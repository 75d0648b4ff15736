"""`make test` runs the checks of what a variant is on all variants, but on relatives of another only the oracle, and
"reach" on those that declare one. It leaves the checks of how a variant is built, and more sizes of the formulas, to
`make test-all`, except on a few variants. That has one variant of each kind; `make test-release` has the others, as
`lra check all`.

The newest JAX is shown the oracle of each variant, and the checks of how the few are built: what a variant attends to,
what it costs and its limits are the same with any JAX that computes its formula.
"""

from pathlib import Path

import pytest

FEW = ("local", "performer", "s5")  # a function, a module on heads, a mixer: a change of what all share shows on these
KINDS = ("transformer", "reformer", "luna", "linear", "hgrn2", "mamba2", "mega")
# slow at thousands of tokens; what they share is shown by lamamba, mamba2 and deltanet
RELATIVES = ("mamba", "b2s6", "mamba3", "hydra", "gated_deltanet", "kda", "deltaproduct")
# they declare what they see; that the others see all takes long to find
WINDOWS = ("sparse_transformer", "longformer", "bigbird", "dilated", "transnormer", "based", "lamamba", "lightconv")
OWN = ("shape", "padding content", "causality", "order", "oracle")
BUILT = (
    "shape", "lengths", "all masked", "inputs", "gradients", "randomness", "dropout", "transformations", "restore",
)  # fmt: skip


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent != Path(__file__).parent:
            continue
        variant = item.path.stem.removeprefix("test_")
        few = variant in FEW
        check = item.name.removesuffix("]").partition("-")[2] if item.name.startswith("test_is_what_it_says[") else None
        own = ("oracle",) if variant in RELATIVES else (*OWN, "reach") if variant in WINDOWS else OWN
        if not few and (check not in (None, *own) or item.name.startswith("test_equals_the_formula")):
            item.add_marker(pytest.mark.more if variant in KINDS and check != "reach" else pytest.mark.release)
        if check != "oracle" and not (few and check in BUILT):
            item.add_marker(pytest.mark.once)
