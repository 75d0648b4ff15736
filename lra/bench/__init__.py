"""Benchmarks on the device at hand. What is compared is timed in one process."""
