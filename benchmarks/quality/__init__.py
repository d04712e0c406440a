"""Scores on held-out data with the shipped defaults. ``python -m benchmarks.quality --help``."""
