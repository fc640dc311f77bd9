"""Measurements beside the pipeline: `python -m benchmarks.NAME`."""
