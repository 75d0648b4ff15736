"""Benchmarks: on the device at hand, side by side in one process."""
