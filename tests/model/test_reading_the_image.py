"""Heads that read the normalised image receive it in training, in testing, and where their attention is shown."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ocnet_pl.model.backbone import create_backbone
from ocnet_pl.model.contract import Attention, Batch, Criterion
from ocnet_pl.model.network import Network
from ocnet_pl.predictor import Predictor
from ocnet_pl.resizing import Size


class Everywhere(nn.Module):
    """Attention with equal weights."""

    name = "everywhere"

    def size(self, features: Tensor) -> Size:
        return features.shape[2], features.shape[3]

    def rows(self, features: Tensor, points: Tensor) -> Tensor:
        height, width = self.size(features)
        return torch.full((len(points), height, width), 1 / (height * width))

    def reach(self, x: int, y: int, size: Size) -> Tensor:
        return torch.ones(size, dtype=torch.bool)


class Reading(nn.Module):
    """Head that keeps what it received."""

    levels: ClassVar[tuple[int, ...]] = (-1,)
    reads_image: ClassVar[bool] = True
    reads_auxiliary: ClassVar[bool] = True
    out_channels = 3

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Tensor, Tensor]] = []
        self.attention = Everywhere()

    def forward(self, features: Tensor, *, image: Tensor, auxiliary: Tensor) -> Tensor:
        self.seen.append((image, auxiliary))
        return image[:, :, ::8, ::8]

    def supervised(self, features: Tensor, *, image: Tensor, auxiliary: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        return self(features, image=image, auxiliary=auxiliary), {"image": image}

    def losses(self, extras: Mapping[str, Tensor], batch: Batch, criterion: Criterion) -> dict[str, Tensor]:
        return {}

    def attended(self, features: Tensor, *, image: Tensor, auxiliary: Tensor) -> list[tuple[Attention, Tensor]]:
        self.seen.append((image, auxiliary))
        return [(self.attention, features)]


def test_a_head_receives_the_normalised_image() -> None:
    network = Network(create_backbone("test_resnet"), Reading(), 4, auxiliary_channels=8).eval()
    head, image = network.head, torch.randint(256, (2, 3, 32, 48), dtype=torch.uint8)
    assert isinstance(head, Reading)
    normalized = network.normalize(image)
    with torch.no_grad():
        network(image)
        outputs = network.supervised(image)
    assert outputs.extras["image"] is head.seen[1][0]
    photograph = image[0].permute(1, 2, 0).numpy()
    Predictor(network).attend(np.ascontiguousarray(photograph))
    assert len(head.seen) == 3
    for given, expected in zip(head.seen, (normalized, normalized, normalized[:1]), strict=True):
        torch.testing.assert_close(given[0], expected)
        assert given[1].shape[:2] == (len(expected), 4)
