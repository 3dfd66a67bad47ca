"""Composition and validation of the configuration. With `build.py` the only place that knows Hydra."""
