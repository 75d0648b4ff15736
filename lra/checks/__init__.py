"""Checks that an attention variant keeps its promises: `lra check`, and `parametrize_with_checks` for pytest."""

from lra.checks import dependence, growth, learning, outputs, padding, precision  # noqa: F401
from lra.checks.check import CHECKS, Check, DoesNotApply
from lra.checks.runner import Result, Status, check_variant, parametrize_with_checks, run_check

# first the checks that the others presuppose, last the slowest
ORDER = (
    "shape", "lengths", "all masked", "inputs", "padding content", "padding amount", "neighbours",
    "zero tokens", "causality", "reach", "order", "oracle", "gradients", "randomness", "dropout", "transformations",
    "restore", "bfloat16", "parameters", "operations", "memory",
)  # fmt: skip
assert set(ORDER) == set(CHECKS)
for name in ORDER:
    CHECKS[name] = CHECKS.pop(name)

__all__ = [
    "CHECKS", "Check", "DoesNotApply", "Result", "Status", "check_variant", "parametrize_with_checks", "run_check",
]  # fmt: skip
