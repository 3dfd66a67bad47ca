"""Golden numbers of public programs (tests/golden/README.md), and which differences count."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

SAME = 1e-5
"""Relative difference up to which outputs agree."""
SAME_GRADIENT = 1e-4
"""Relative difference up to which gradients agree."""
SEEN = 1e-4
"""Relative difference from which a change counts as noticed."""


@cache
def _arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parent / "golden" / f"{name}.npz") as file:
        return dict(file)


def golden_file(name: str, prefix: str = "") -> dict[str, Tensor]:
    """Tensors of a golden file whose names begin with the prefix, by the rest of their names."""
    return {
        key.removeprefix(prefix): torch.from_numpy(array.copy())
        for key, array in _arrays(name).items()
        if key.startswith(prefix)
    }


def relative_difference(tensor: Tensor, theirs: Tensor) -> float:
    """Largest difference, in multiples of the largest of their values."""
    assert tensor.shape == theirs.shape
    return float((tensor - theirs).abs().max() / theirs.abs().max())


def assert_same(tensor: Tensor, theirs: Tensor, name: str = "output", tolerance: float = SAME) -> None:
    difference = relative_difference(tensor.detach(), theirs)
    assert difference <= tolerance, f"{name}: differs by {difference:.1e} of the largest value, not by {tolerance:.0e}"


def assert_gradient(gradient: Tensor | None, theirs: Tensor, name: str = "gradient") -> None:
    assert gradient is not None, f"{name}: no gradient"
    assert_same(gradient, theirs.view(gradient.shape), name, SAME_GRADIENT)
