"""Sections of the report of `benchmarks/gpu.py`: each measures or checks one subject on a GPU."""
