"""The source of a variant from outside: the texts of all local modules that decide what it computes, and its sizes."""

from lra.models.source.loader import load_text
from lra.models.source.sizes import Sizes, path_of_sizes
from lra.models.source.source import Source, source_of
from lra.models.source.texts import Texts

__all__ = ["Sizes", "Source", "Texts", "load_text", "path_of_sizes", "source_of"]
