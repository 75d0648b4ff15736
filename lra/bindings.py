"""Gin bindings that come from a record. The one reader of them lies beside the records."""

from lra.leaderboard.config import REFERENCES, bindings_of, literal, plain

__all__ = ["REFERENCES", "bindings_of", "literal", "plain"]
