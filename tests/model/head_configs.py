"""Heads from their config files, by capability."""

from typing import Any

import torch
from conftest import config_of
from omegaconf import OmegaConf
from torch import nn

from ocnet_pl.build_head import build_head
from ocnet_pl.config.compose import heads
from ocnet_pl.model.contract import Attending, head_levels, image_scales, needed_targets, reads_auxiliary, reads_image


def tree(num_classes: int) -> dict[str, range]:
    """Groups of classes of a data set with so many: pairs, and what is left."""
    return {str(first): range(first, min(first + 2, num_classes)) for first in range(0, num_classes, 2)}


def head(name: str, in_channels: int = 16, num_classes: int = 5, **overrides: Any) -> nn.Module:
    """A head; all stages that it reads have as many channels."""
    node = config_of(name).model.head.copy()
    OmegaConf.set_readonly(node, False)
    for key, value in overrides.items():
        node[key] = value
    facts = {"num_classes": num_classes, "map_size": (12, 18), "class_tree": tree(num_classes)}
    return build_head(node, dict.fromkeys(range(-5, 0), in_channels), facts)


def narrow(name: str, channels: int) -> tuple[str, ...]:
    """The override for a narrow head; a head that ends in logits has no width."""
    return (f"model.head.out_channels={channels}",) if "out_channels" in config_of(name).model.head else ()


def build_class(name: str) -> type:
    from hydra.utils import get_class

    return get_class(config_of(name).model.head._target_)


def is_attending(name: str) -> bool:
    return isinstance(head(name), Attending)


def maps(built: nn.Module, size: tuple[int, int], in_channels: int = 16, batch: int = 2, seed: int = 1) -> list[Any]:
    """Random inputs of a head: all levels of a scale have one size."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [
        [max(1, round(side * scale)) for side in size] for scale in image_scales(built) for _ in head_levels(built)
    ]
    return [torch.randn(batch, in_channels, *one, generator=generator) for one in sizes]


def named_inputs(built: nn.Module, size: tuple[int, int], batch: int = 2, num_classes: int = 5) -> dict[str, Any]:
    """Random inputs of a head by name, for maps of this size."""
    generator = torch.Generator().manual_seed(2)
    named = {}
    if reads_auxiliary(built):
        named["auxiliary"] = torch.randn(batch, num_classes, *size, generator=generator)
    if reads_image(built):
        named["image"] = torch.randn(batch, 3, *(8 * side for side in size), generator=generator)
    return named


def keypoints(built: nn.Module, size: tuple[int, int], batch: int = 2) -> dict[str, Any]:
    """Random targets of a batch that a head's losses need, in an image of this size."""
    generator = torch.Generator().manual_seed(3)
    height, width = size
    return {
        name: torch.rand(batch, *shape, generator=generator) * torch.tensor([width - 1.0, height - 1.0, 1.0])
        for name, shape in needed_targets(built).items()
    }


ATTENDING = [name for name in heads() if is_attending(name)]
CLASSES = {name: build_class(name) for name in heads()}
PLAIN = [name for name, of in CLASSES.items() if len(head_levels(of)) == 1 and not reads_auxiliary(of)]
"""Heads that read the last map alone."""


def parameters_of(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def every_position(height: int, width: int) -> torch.Tensor:
    """Points (x, y) of a map, row by row."""
    return torch.cartesian_prod(torch.arange(height), torch.arange(width)).flip(1)
