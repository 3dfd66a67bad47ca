"""Changes of a module that a test must notice."""

from collections.abc import Callable

import torch
from torch import nn

Change = Callable[[nn.Module], None]


def layers_of(module: nn.Module) -> list[str]:
    """Names of norms, activations and gates, each of which can be left out."""
    kinds = nn.BatchNorm1d | nn.BatchNorm2d | nn.ReLU | nn.LeakyReLU | nn.Sigmoid
    return [name for name, part in module.named_modules() if isinstance(part, kinds)]


def weights_of(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_parameters()]


def unchanged(module: nn.Module) -> None:
    pass


def without(name: str) -> Change:
    """A part does nothing."""
    return replaced(name, nn.Identity)


def replaced(name: str, build: Callable[[], nn.Module]) -> Change:
    return lambda module: module.set_submodule(name, build())


def rebuilt(name: str, build: Callable[[], nn.Module]) -> Change:
    """A part is another one with the same weights."""

    def change(module: nn.Module) -> None:
        other = build()
        other.load_state_dict(module.get_submodule(name).state_dict())
        module.set_submodule(name, other)

    return change


def exchanged(first: str, second: str) -> Change:
    """Two parts take each other's place."""

    def change(module: nn.Module) -> None:
        one, other = module.get_submodule(first), module.get_submodule(second)
        module.set_submodule(first, other)
        module.set_submodule(second, one)

    return change


def shifted(weight: str) -> Change:
    """A weight is rolled along its last axis, or scaled and shifted."""

    def change(module: nn.Module) -> None:
        with torch.no_grad():
            values = module.get_parameter(weight)
            values.copy_(values.roll(1, -1) if values.ndim > 1 and values.shape[-1] > 1 else values * 1.3 + 0.2)

    return change


def rolled_inputs(weight: str, channels: int) -> Change:
    """A convolution reads its input channels in another order."""

    def change(module: nn.Module) -> None:
        with torch.no_grad():
            kernel = module.get_parameter(weight)
            kernel.copy_(kernel.roll(channels, 1))

    return change


def with_slope(slope: float, part: str = "") -> Change:
    """All leaky ReLUs of a part have another slope."""

    def change(module: nn.Module) -> None:
        for layer in module.get_submodule(part).modules():
            if isinstance(layer, nn.LeakyReLU):
                layer.negative_slope = slope

    return change


leaky = with_slope(0.01)


def set_to(name: str, value: object, part: str = "") -> Change:
    """An attribute of a part has another value."""
    return lambda module: setattr(module.get_submodule(part), name, value)
