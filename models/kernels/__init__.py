"""The three ops that the variants stand on, each in XLA and in kernels for TPU and Hopper, and what they share."""
