"""The encoder, its heads and the attention variants."""
