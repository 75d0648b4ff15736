"""Proof of kernels: which implementation of each op of a run is right and fastest on the device at hand."""
