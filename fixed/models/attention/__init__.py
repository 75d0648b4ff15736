"""Attention variants, one file each. Importing this package registers all of them."""

from lra.models.attention import dilated, linear, linformer, local, performer, transformer  # noqa: F401
from lra.models.attention.registry import VARIANTS, Shape, Variant, register_attention

__all__ = ["VARIANTS", "Shape", "Variant", "register_attention"]
