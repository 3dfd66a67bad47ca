"""`ocnet-export`: trained networks as files for other programs."""

from collections.abc import Mapping
from types import MappingProxyType

NEEDED: Mapping[str, tuple[str, ...]] = MappingProxyType({".pt2": (), ".onnx": ("onnx", "onnxscript", "onnxruntime")})
"""Formats by the suffix of their files, and the modules that each needs beside torch."""
OLDEST_TORCH = "2.14"
"""First version of torch whose exporter keeps sizes free where it cannot prove a fact about them."""
