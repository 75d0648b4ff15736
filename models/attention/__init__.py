"""Attention variants, one file each. Importing this package registers all of them."""

import importlib
import pkgutil

from lra.models.attention.registry import VARIANTS, Variant, register_attention
from lra.models.attention.shape import Shape

__all__ = ["VARIANTS", "Shape", "Variant", "register_attention"]

for module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{module.name}")
