"""Variants against code of their authors, or against the most used port of it, with equal weights.

None of that code is needed by anything else. A test runs where it is installed, and is skipped elsewhere. Each says
which version it was run with, and the largest difference.
"""
