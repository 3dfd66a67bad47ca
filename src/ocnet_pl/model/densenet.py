"""DenseNets (Huang et al. 2017, arXiv:1608.06993) from timm, dilated for segmentation as in DenseASPP (CVPR 2018)."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from timm.layers.norm_act import BatchNormAct2d
from timm.models.densenet import DenseBlock
from torch import Tensor, nn

from ocnet_pl.arguments import ArgumentError, refuse
from ocnet_pl.model.backbone import recompute_activations, timm_stages

DILATIONS = {8: {"3": 2, "4": 4}, 16: {"4": 2}, 32: {}}
"""Dilations of dense blocks by the stride of the last stage; the pooling before a dilated block is dropped."""


class ActivatedConv2d(nn.Conv2d):
    """ReLU and convolution. The ReLU works in place on the input, which must be the output of a norm."""

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(F.relu(features, inplace=True))


def create_densenet(
    model_name: str,
    *,
    pretrained: bool = False,
    weights: str | None = None,
    levels: Sequence[int] = (-2, -1),
    output_stride: int = 8,
    halve_last: bool = True,
    grad_checkpointing: bool = False,
    **timm_arguments: Any,
) -> nn.Module:
    """timm's DenseNet that returns feature maps of its stages, as `backbone.create_backbone` does for other networks.

    Its stages are the stem, the outputs of the first three dense blocks, and the end. Weights and their names are
    timm's, but for the end with `halve_last`. Norm and ReLU, which timm joins in one module, are separate, so that
    a conversion to `SyncBatchNorm` keeps the ReLU.

    Args:
        model_name: a DenseNet of timm, e.g. `densenet161`.
        pretrained: load ImageNet weights through timm (downloaded once, then cached).
        weights: local file of such weights, instead of the download.
        levels: stages to return, counted from the last, in ascending order.
        output_stride: stride of the last stage, 8, 16 or 32. At stride 8, the last two dense blocks are dilated by 2
            and 4, and the poolings before them are dropped.
        halve_last: end in a transition that halves the channels and a norm without ReLU, as in DenseASPP. The
            transition's norm takes the ImageNet weights of timm's last norm; its convolution and the new last norm
            start fresh. False: timm's end, a norm with ReLU.
        grad_checkpointing: recompute activations in the backward pass: less memory, more time.
        timm_arguments: passed on to `timm.create_model`.

    Raises:
        ArgumentError: another network, an impossible stride, or weights that cannot be loaded.
    """
    if output_stride not in DILATIONS:
        raise refuse("output_stride", output_stride, "8, 16 or 32")
    backbone = timm_stages(model_name, pretrained=pretrained, weights=weights, levels=levels, **timm_arguments)
    if not any(isinstance(part, DenseBlock) for part in backbone.modules()):
        raise ArgumentError(f"model_name={model_name}: expected a DenseNet; others: model.backbone.create_backbone")
    _separate_activations(backbone)
    _dilate(backbone, output_stride)
    if halve_last and "features_norm5" in backbone:  # type: ignore[operator]
        _halve_last(backbone)
    if grad_checkpointing:
        recompute_activations(backbone)
    return backbone


def _separate_activations(backbone: nn.Module) -> None:
    """Replace timm's norms with activation by norms: the convolution that reads one, or a new module, has the ReLU."""
    for part in [*backbone.modules()]:
        if part is backbone:
            continue
        previous = None
        for name, layer in [*part.named_children()]:
            if isinstance(layer, BatchNormAct2d):
                setattr(part, name, _plain(layer))
            elif isinstance(previous, BatchNormAct2d):
                assert isinstance(layer, nn.Conv2d)
                setattr(part, name, _activated(layer))
            previous = layer
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    returned: dict[str, str] = backbone.return_layers  # type: ignore[assignment]
    for name, layer in [*backbone.named_children()]:
        if isinstance(layer, BatchNormAct2d):
            stages[name] = _plain(layer)
            relu = name.replace("norm", "relu")
            stages[relu] = nn.ReLU(inplace=True)
            if name in returned:
                returned[relu] = returned.pop(name)
        else:
            stages[name] = layer
    _set_stages(backbone, stages)


def _plain(norm: BatchNormAct2d) -> nn.BatchNorm2d:
    plain = nn.BatchNorm2d(norm.num_features, norm.eps, norm.momentum)
    plain.load_state_dict(norm.state_dict())
    return plain


def _activated(conv: nn.Conv2d) -> ActivatedConv2d:
    side = conv.kernel_size[0]
    activated = ActivatedConv2d(conv.in_channels, conv.out_channels, side, padding=side // 2, bias=False, device="meta")
    activated.weight = conv.weight
    return activated


def _dilate(backbone: nn.Module, output_stride: int) -> None:
    for number, dilation in DILATIONS[output_stride].items():
        backbone.get_submodule(f"features_transition{int(number) - 1}").pool = nn.Identity()
        for layer in backbone.get_submodule(f"features_denseblock{number}").children():
            layer.conv2.dilation = layer.conv2.padding = (dilation, dilation)  # type: ignore[union-attr]
    info: list[dict[str, Any]] = backbone.feature_info.info  # type: ignore[assignment, union-attr]
    for stage in info:
        stage["reduction"] = min(stage["reduction"], output_stride)


def _halve_last(backbone: nn.Module) -> None:
    """Put a transition and a norm in the place of the last norm and its ReLU."""
    stages = OrderedDict(backbone.named_children())
    norm = stages.pop("features_norm5")
    stages.pop("features_relu5")
    assert isinstance(norm, nn.BatchNorm2d)
    channels = norm.num_features // 2
    conv = ActivatedConv2d(norm.num_features, channels, 1, bias=False)
    nn.init.kaiming_normal_(conv.weight)  # as in the other transitions
    stages["features_transition4"] = nn.Sequential(OrderedDict(norm=norm, conv=conv))
    stages["features_norm5"] = nn.BatchNorm2d(channels)
    returned: dict[str, str] = backbone.return_layers  # type: ignore[assignment]
    returned["features_norm5"] = returned.pop("features_relu5")
    info: list[dict[str, Any]] = backbone.feature_info.info  # type: ignore[assignment, union-attr]
    info[-1]["num_chs"] = channels
    _set_stages(backbone, stages)


def _set_stages(backbone: nn.Module, stages: OrderedDict[str, nn.Module]) -> None:
    assert isinstance(backbone, nn.ModuleDict)
    backbone.clear()
    backbone.update(stages)
