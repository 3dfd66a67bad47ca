"""Golden numbers of public modules (tests/golden/README.md), and changes that tests must notice."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

GOLDEN = Path(__file__).parents[1] / "golden"
SEEN = 1e-4
"""Relative difference from which a change counts as noticed; agreement is within 1e-5."""


def ours(name: str, prefixes: dict[str, str]) -> str:
    for theirs, mine in prefixes.items():
        if name.startswith(f"{theirs}."):
            name = mine + name.removeprefix(theirs)
            break
    return name.replace("_conv.", ".")


def golden_file(case: str, prefix: str = "") -> dict[str, Tensor]:
    with np.load(GOLDEN / f"{case}.npz") as file:
        return {
            name.removeprefix(prefix): torch.from_numpy(file[name]) for name in file.files if name.startswith(prefix)
        }


def with_weights(module: nn.Module, golden: dict[str, Tensor], prefixes: dict[str, str]) -> nn.Module:
    weights = {ours(n.removeprefix("param/"), prefixes): t for n, t in golden.items() if n.startswith("param/")}
    own = module.state_dict()
    missing = module.load_state_dict({n: t.view(own[n].shape) for n, t in weights.items()}, strict=False)
    assert all(name.endswith("num_batches_tracked") for name in missing.missing_keys)
    return module


def assert_gradient(gradient: Tensor | None, theirs: Tensor) -> None:
    assert gradient is not None
    assert (gradient - theirs.view(gradient.shape)).abs().max() <= 1e-4 * theirs.abs().max()


def norms_and_activations(module: nn.Module) -> list[tuple[str, int]]:
    """Places of norms and activations: name of the sequence and index in it."""
    return [
        (name, index)
        for name, part in module.named_modules()
        if isinstance(part, nn.Sequential)
        for index in range(1, len(part))
        if not isinstance(part[index], nn.Conv2d | nn.Dropout2d)
    ]


def removed(layer: str, index: int) -> Callable[[nn.Module], None]:
    """Change: a layer of a sequence does nothing."""

    def change(module: nn.Module) -> None:
        module.get_submodule(layer)[index] = nn.Identity()  # type: ignore[operator]

    return change


def shifted(parameter: str) -> Callable[[nn.Module], None]:
    """Change: a weight is rolled along its last axis, or scaled and shifted."""

    def change(module: nn.Module) -> None:
        with torch.no_grad():
            weight = module.get_parameter(parameter)
            weight.copy_(weight.roll(1, -1) if weight.ndim > 1 and weight.shape[-1] > 1 else weight * 1.3 + 0.2)

    return change


def leaky(head: nn.Module) -> None:
    for module in head.modules():
        if isinstance(module, nn.LeakyReLU):
            module.negative_slope = 0.01


def set_to(name: str, value: object) -> Callable[[nn.Module], None]:
    return lambda head: setattr(head, name, value)


def exchanged(first: str, second: str) -> Callable[[nn.Module], None]:
    def change(head: nn.Module) -> None:
        one, other = head.get_submodule(first), head.get_submodule(second)
        head.set_submodule(first, other)
        head.set_submodule(second, one)

    return change
