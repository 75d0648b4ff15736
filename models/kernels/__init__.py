"""The four ops of the variants, and what they share: XLA, and kernels for TPU and Hopper but for the delta rule."""
