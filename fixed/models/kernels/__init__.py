"""The operations that the variants stand on; XLA only so far."""
