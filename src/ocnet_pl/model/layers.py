"""Layers that all heads are built from."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ocnet_pl.errors import UserError


def conv_norm_act(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 1,
    *,
    stride: int = 1,
    dilation: int = 1,
    bias: bool = True,
    negative_slope: float = 0.01,
    momentum: float = 0.1,
) -> nn.Sequential:
    """Convolution, batch norm, leaky ReLU: the authors' `conv + InPlaceABN`.

    Norm and activation are two modules, so that a conversion to `SyncBatchNorm` keeps the activation.

    Args:
        bias: bias of the convolution; the authors keep it before the norm, except in the plain ASPP branches.
        negative_slope: slope of the leaky ReLU: 0.01 in the authors' heads, 0 (ReLU) in their later code.
        momentum: weight of a batch in the norm's running statistics.
    """
    return nn.Sequential(
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding=dilation * (kernel_size // 2),
            dilation=dilation,
            bias=bias,
        ),
        nn.BatchNorm2d(out_channels, momentum=momentum),
        nn.LeakyReLU(negative_slope, inplace=True),
    )


def auxiliary_classifier(
    in_channels: int, num_classes: int, hidden_channels: int, *, dropout: float, negative_slope: float
) -> nn.Sequential:
    """Classifier of an inner stage (paper, section 4.1), which only training uses. (B, in, H, W) -> (B, K, H, W)."""
    return nn.Sequential(
        conv_norm_act(in_channels, hidden_channels, 3, negative_slope=negative_slope),
        nn.Dropout2d(dropout),
        nn.Conv2d(hidden_channels, num_classes, 1),
    )


def two_layer_transform(
    in_channels: int, out_channels: int, *, bias: bool = True, negative_slope: float = 0.01
) -> nn.Sequential:
    """Two 1x1 conv-norm-act, as for query and key in ISA and OCR."""
    return nn.Sequential(
        conv_norm_act(in_channels, out_channels, bias=bias, negative_slope=negative_slope),
        conv_norm_act(out_channels, out_channels, bias=bias, negative_slope=negative_slope),
    )


def symbolic(sides: Sequence[int]) -> bool:
    """Return whether a side is a symbol, as in an export for images of any size; comparing it would fix its value."""
    return any(isinstance(side, torch.SymInt) for side in sides)


def upsample(features: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear upsampling with aligned corners, as in the authors' code. (B, C, h, w) -> (B, C, *size)."""
    if not symbolic([*features.shape, *size]) and tuple(features.shape[-2:]) == tuple(size):
        return features
    return F.interpolate(features, tuple(size), mode="bilinear", align_corners=True)


def rescaled(image: Tensor, scale: float) -> Tensor:
    """The image at another scale, bilinear with aligned corners: sides of 8k + 1 stay of this form. (B, C, H, W)."""
    return image if scale == 1 else upsample(image, [_scaled(side, scale) for side in image.shape[-2:]])


def _scaled(side: int, scale: float) -> int:
    """round((side - 1) * scale) + 1."""
    if not symbolic([side]):
        return round((side - 1) * scale) + 1
    # In whole numbers, which every format of exported networks has; a half is rounded to the even number.
    exact = Fraction(str(scale))
    product, divisor = (side - 1) * exact.numerator, exact.denominator
    return (2 * product + divisor - 1 + product // divisor % 2) // (2 * divisor) + 1


def tokens(features: Tensor) -> Tensor:
    """Positions as rows, contiguous, as attention reads them. (B, C, H, W) -> (B, H * W, C)."""
    return features.flatten(2).transpose(1, 2).contiguous()


def image_of(rows: Tensor, size: Sequence[int]) -> Tensor:
    """The inverse of `tokens`. (B, H * W, C) -> (B, C, H, W)."""
    return rows.transpose(1, 2).unflatten(2, tuple(size))


def subsample(label: Tensor, size: Sequence[int]) -> Tensor:
    """Nearest label of every position of a smaller map with aligned corners: `label[..., ::8, ::8]` of 769 for 97.

    (B, ..., H, W) -> (B, ..., *size). It is the inverse of `upsample`.
    """
    if tuple(label.shape[-2:]) == tuple(size):
        return label
    rows, columns = (
        (2 * torch.arange(target, device=label.device) * (source - 1) + target - 1) // max(1, 2 * (target - 1))
        for source, target in zip(label.shape[-2:], size, strict=True)
    )
    return label[..., rows[:, None], columns]


def initialize_he(module: nn.Module) -> None:
    """Draw the weights of a convolution from He et al.'s normal distribution; for `nn.Module.apply`."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)


def without_autocast(features: Tensor) -> AbstractContextManager[object]:
    """Context in which matrix products on the device of these features keep the precision of their inputs."""
    device = features.device.type
    return torch.autocast(device, enabled=False) if device != "meta" else nullcontext()


def average_pool(features: Tensor, grid: int) -> Tensor:
    """Mean of every cell of a grid, with the cells of `F.adaptive_avg_pool2d`. (B, C, H, W) -> (B, C, grid, grid).

    The means are matrix products where that function cannot be used: its gradient has no deterministic kernel on a GPU,
    and it needs sides that are numbers.
    """
    no_kernel = features.is_cuda and torch.are_deterministic_algorithms_enabled()
    if no_kernel or (grid > 1 and symbolic(features.shape)):
        return average_pool_by_products(features, grid)
    return F.adaptive_avg_pool2d(features, grid)


def average_pool_by_products(features: Tensor, grid: int) -> Tensor:
    """The same means as products with masks of the cells' rows and columns."""
    down, across = (_cells(side, grid, features) for side in features.shape[-2:])
    with without_autocast(features):
        return down @ features @ across.T / (down.sum(1)[:, None] * across.sum(1))


def _cells(side: int, grid: int, like: Tensor) -> Tensor:
    """Mask of the places that belong to each cell along a side, 1 or 0, (grid, side)."""
    cell = torch.arange(grid, device=like.device)[:, None]
    place = torch.arange(side, device=like.device)
    begin, end = cell * side // grid, ((cell + 1) * side + grid - 1) // grid
    return ((begin <= place) & (place < end)).to(like.dtype)


class PooledContext(nn.Module):
    """Average pooling to a grid, 1x1 conv-norm-act, upsampled back. (B, in, H, W) -> (B, out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, grid: int = 1, *, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.grid = grid
        self.reduce = conv_norm_act(in_channels, out_channels, bias=False, negative_slope=negative_slope)

    def forward(self, features: Tensor) -> Tensor:
        pooled = average_pool(features, self.grid)
        norm = self.reduce[1]
        if isinstance(norm, nn.BatchNorm2d) and norm.training and pooled[:, 0].numel() == 1:
            raise UserError(
                "global pooling: batch norm after it needs at least 2 images per process and forward pass in training; "
                "raise the batch size, or use fewer processes or accumulation steps"
            )
        return upsample(self.reduce(pooled), features.shape[-2:])


class Normalize(nn.Module):
    """Normalisation of bytes to the backbone's input. (B, 3, H, W) RGB in 0..255 -> float (B, 3, H, W).

    It is part of the network and runs on its device: loaders ship bytes, and no caller can forget it.

    Args:
        mean: mean of each channel, RGB in 0..1.
        std: standard deviation of each channel, RGB in 0..1.
        bgr: swap red and blue afterwards, for weights trained on BGR (those of the authors' lineage).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], *, bgr: bool = False) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1) * 255, persistent=False)
        self.bgr = bgr

    @classmethod
    def of_backbone(
        cls, backbone: nn.Module, *, mean: Sequence[float] | None, std: Sequence[float] | None, bgr: bool
    ) -> "Normalize":
        """Normalisation that the backbone's weights expect (timm's `pretrained_cfg`), where nothing else is given."""
        expected: dict[str, Any] = backbone.pretrained_cfg  # type: ignore[assignment]
        return cls(
            expected["mean"] if mean is None else tuple(mean), expected["std"] if std is None else tuple(std), bgr=bgr
        )

    def forward(self, image: Tensor) -> Tensor:
        normalized = (image.to(self.mean.dtype) - self.mean) / self.std
        return normalized.flip(1) if self.bgr else normalized
