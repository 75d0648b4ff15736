"""The delta rule: a state that is corrected, not only added to."""

from lra.models.kernels.delta_rule.op import delta_rule

__all__ = ["delta_rule"]
