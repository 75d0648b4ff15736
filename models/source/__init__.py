"""The source of a variant from outside: the texts of all local modules that decide what it computes."""

from lra.models.source.loader import load_text
from lra.models.source.source import Source, source_of
from lra.models.source.texts import Texts

__all__ = ["Source", "Texts", "load_text", "source_of"]
