"""The OCNet authors' networks, stated again in plain PyTorch: their names, their norms, their dilations, their input.

Written from the facts (module names, shapes, order of operations), with InPlaceABN as what it computes. Widths shrink.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ABN(nn.Module):
    """InPlaceABN: scaled by |weight| + eps. A forward in training mode sets the running statistics to the batch's."""

    def __init__(self, channels: int, slope: float | None = 0.01) -> None:
        super().__init__()
        self.slope = slope
        sign = torch.randint(0, 2, (channels,)) * 2 - 1
        self.weight = nn.Parameter((torch.rand(channels) + 0.5) * sign)
        self.bias = nn.Parameter(torch.randn(channels) * 0.2)
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def scale(self) -> Tensor:
        return self.weight.abs() + 1e-5

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.running_mean.copy_(x.mean((0, 2, 3)))
            self.running_var.copy_(x.var((0, 2, 3)))
        x = (x - self.running_mean[:, None, None]) / (self.running_var[:, None, None] + 1e-5).sqrt()
        x = x * self.scale()[:, None, None] + self.bias[:, None, None]
        return x if self.slope is None else torch.where(x > 0, x, self.slope * x)


def plain_norm(channels: int) -> nn.Module:
    """The backbone's norm: no activation of its own."""
    return ABN(channels, slope=None)


class ImageNetNorm(ABN):
    """Batch norm as everybody has it: of the ImageNet network."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, slope=None)

    def scale(self) -> Tensor:
        return self.weight


Norm = Callable[[int], nn.Module]


class Bottleneck(nn.Module):
    def __init__(self, inplanes: int, planes: int, stride: int, dilation: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 1, bias=False)
        self.bn1 = norm(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = norm(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = norm(4 * planes)
        nn.init.uniform_(self.bn3.weight, -0.4, 0.4)  # else 33 blocks magnify the rounding of float32
        self.downsample = None
        if stride != 1 or inplanes != 4 * planes:
            self.downsample = nn.Sequential(nn.Conv2d(inplanes, 4 * planes, 1, stride, bias=False), norm(4 * planes))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn1(self.conv1(x)).relu()
        out = self.bn2(self.conv2(out)).relu()
        out = self.bn3(self.conv3(out))
        return (out + (x if self.downsample is None else self.downsample(x))).relu()


class Backbone(nn.Module):
    """Deep stem, pool that rounds up, stride 8 with every block of the last two stages dilated."""

    def __init__(self, blocks: tuple[int, ...], stem: int, planes: tuple[int, ...], norm: Norm = plain_norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, stem, 3, 2, 1, bias=False)
        self.bn1 = norm(stem)
        self.conv2 = nn.Conv2d(stem, stem, 3, 1, 1, bias=False)
        self.bn2 = norm(stem)
        self.conv3 = nn.Conv2d(stem, 2 * stem, 3, 1, 1, bias=False)
        self.bn3 = norm(2 * stem)
        inplanes = 2 * stem
        for i, (stride, dilation) in enumerate(((1, 1), (2, 1), (1, 2), (1, 4))):
            stage = []
            for j in range(blocks[i]):
                stage.append(Bottleneck(inplanes, planes[i], 1 if j else stride, dilation, norm))
                inplanes = 4 * planes[i]
            setattr(self, f"layer{i + 1}", nn.Sequential(*stage))

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for conv, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = norm(conv(x)).relu()
        x = F.max_pool2d(x, 3, 2, 1, ceil_mode=True)
        third = self.layer3(self.layer2(self.layer1(x)))
        return third, self.layer4(third)


class ImageNetNetwork(Backbone):
    def __init__(self, blocks: tuple[int, ...], stem: int, planes: tuple[int, ...], classifier: str = "fc") -> None:
        super().__init__(blocks, stem, planes, ImageNetNorm)
        setattr(self, classifier, nn.Linear(4 * planes[-1], 1000))


class SelfAttention(nn.Module):
    def __init__(self, channels: int, key: int, value: int, out: int, scale: int = 1, grid: int = 1) -> None:
        super().__init__()
        self.f_key = nn.Sequential(nn.Conv2d(channels, key, 1), ABN(key))
        self.f_query = self.f_key
        self.f_value = nn.Conv2d(channels, value, 1)
        self.W = nn.Conv2d(value, out, 1)
        self.scale, self.grid = scale, grid

    def forward(self, x: Tensor) -> Tensor:
        small = F.max_pool2d(x, self.scale) if self.scale > 1 else x
        query, key, value = self.f_query(small), self.f_key(small), self.f_value(small)
        rows = []
        for i in range(self.grid):
            row = []
            for j in range(self.grid):
                cell = (..., self._side(small.shape[2], i), self._side(small.shape[3], j))
                row.append(self._attend(query[cell], key[cell], value[cell]))
            rows.append(torch.cat(row, 3))
        context = self.W(torch.cat(rows, 2))
        if self.scale > 1:
            context = F.interpolate(context, x.shape[2:], mode="bilinear", align_corners=True)
        return context

    def _side(self, length: int, i: int) -> slice:
        step = length // self.grid
        return slice(i * step, length if i == self.grid - 1 else (i + 1) * step)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        similarity = query.flatten(2).transpose(1, 2) @ key.flatten(2) * key.shape[1] ** -0.5
        return (similarity.softmax(-1) @ value.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(value.shape)


class BaseOC(nn.Module):
    def __init__(self, channels: int, key: int, scale: int = 1) -> None:
        super().__init__()
        self.stages = nn.ModuleList([SelfAttention(channels, key, key, channels, scale)])
        self.conv_bn_dropout = nn.Sequential(nn.Conv2d(2 * channels, channels, 1), ABN(channels), nn.Dropout2d(0.05))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_bn_dropout(torch.cat([self.stages[0](x), x], 1))


class ContextBranch(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList([SelfAttention(channels, channels // 2, channels, channels, scale=2)])
        self.conv_bn_dropout = nn.Sequential(nn.Conv2d(channels, channels, 1), ABN(channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_bn_dropout(self.stages[0](x))


class AspOC(nn.Module):
    def __init__(self, channels: int, width: int, out: int) -> None:
        super().__init__()
        self.context = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), ABN(width), ContextBranch(width))
        self.conv2 = nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), ABN(width))
        for i, rate in enumerate((12, 24, 36)):
            conv = nn.Conv2d(channels, width, 3, padding=rate, dilation=rate, bias=False)
            setattr(self, f"conv{3 + i}", nn.Sequential(conv, ABN(width)))
        self.conv_bn_dropout = nn.Sequential(nn.Conv2d(5 * width, out, 1, bias=False), ABN(out), nn.Dropout2d(0.1))

    def forward(self, x: Tensor) -> Tensor:
        branches = (self.context, self.conv2, self.conv3, self.conv4, self.conv5)
        return self.conv_bn_dropout(torch.cat([branch(x) for branch in branches], 1))


class PyramidOC(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        grids = (1, 2, 3, 6)
        self.stages = nn.ModuleList(
            SelfAttention(channels, channels // 2, channels, channels, grid=grid) for grid in grids
        )
        self.conv_bn_dropout = nn.Sequential(nn.Conv2d(8 * channels, channels, 1), ABN(channels), nn.Dropout2d(0.05))
        self.up_dr = nn.Sequential(nn.Conv2d(channels, 4 * channels, 1), ABN(4 * channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_bn_dropout(torch.cat([self.up_dr(x), *(stage(x) for stage in self.stages)], 1))


class Network(Backbone):
    """One of their whole networks.

    Args:
        form: base_oc, asp_oc (the paper's), asp_oc_2019, pyramid_oc (as released), pyramid_oc_in_context.
        out: 512 of theirs.
        auxiliary: 512 of theirs.
        downsample: of the attention of base_oc.
    """

    def __init__(
        self,
        form: str,
        classes: int = 19,
        *,
        blocks: tuple[int, ...] = (1, 1, 6, 1),
        stem: int = 8,
        planes: tuple[int, ...] = (8, 8, 16, 32),
        out: int = 16,
        auxiliary: int = 8,
        downsample: int = 1,
    ) -> None:
        super().__init__(blocks, stem, planes)
        channels = 4 * planes[3]
        reduction = (nn.Conv2d(channels, out, 3, padding=1), ABN(out))
        if form == "base_oc":
            self.context: nn.Module = nn.Sequential(*reduction, BaseOC(out, out // 2, downsample))
        elif form == "asp_oc":
            self.context = AspOC(channels, out, out)
        elif form == "asp_oc_2019":
            self.context = nn.Sequential(*reduction, AspOC(out, out // 2, out))
        elif form == "pyramid_oc":
            self.layer5 = nn.Sequential(reduction[0], plain_norm(out))
            self.context = PyramidOC(out)
        else:
            self.context = nn.Sequential(*reduction, PyramidOC(out))
        norm = plain_norm(auxiliary) if form == "pyramid_oc" else ABN(auxiliary)
        reduction_of_third = nn.Conv2d(4 * planes[2], auxiliary, 3, padding=1)
        self.cls = nn.Conv2d(out, classes, 1)
        self.dsn = nn.Sequential(reduction_of_third, norm, nn.Dropout2d(0.05), nn.Conv2d(auxiliary, classes, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Fed image (B, 3, H, W) -> auxiliary and main logits, upsampled as their evaluation does it."""
        third, fourth = self.features(x)
        if hasattr(self, "layer5"):
            fourth = self.layer5(fourth)
        logits = self.dsn(third), self.cls(self.context(fourth))
        auxiliary, main = (F.interpolate(part, x.shape[2:], mode="bilinear", align_corners=True) for part in logits)
        return auxiliary, main


def fed(image: Tensor, how: str) -> Tensor:
    """RGB bytes (B, 3, H, W) as OpenCV's BGR less the means (`bgr`), or reversed first (`oc`)."""
    bgr = torch.stack([image[:, 2], image[:, 1], image[:, 0]], 1).float()
    channels = {"bgr": bgr, "oc": bgr.flip(1)}[how]
    return channels - torch.tensor([102.9801, 115.9465, 122.7717])[:, None, None]


def calibrate(network: nn.Module, forward: Callable[[Tensor], object], seed: int = 0) -> None:
    """Sets every running statistic to what a batch gives, layer by layer, so that no activation runs away."""
    batch = torch.randint(0, 256, (2, 3, 64, 96), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    network.train()
    with torch.no_grad():
        forward(fed(batch, "bgr"))
    network.eval()
