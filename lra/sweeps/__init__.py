"""Sweeps: many runs, each in a process of its own, on one machine or a cluster."""
