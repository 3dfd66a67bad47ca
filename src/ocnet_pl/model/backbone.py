"""Backbones from timm: feature maps at stride 8, 16 or 32, dilated as in the paper."""

import copy
import difflib
import inspect
import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ocnet_pl.arguments import ArgumentError
from ocnet_pl.model.scale_adaptive import ScaleAdaptiveConv2d
from ocnet_pl.resizing import Size


def create_backbone(
    model_name: str,
    *,
    pretrained: bool = False,
    weights: str | None = None,
    levels: Sequence[int] = (-2, -1),
    output_stride: int = 8,
    dilate_first_block: bool = True,
    block_dilations: Mapping[str, Sequence[int]] | None = None,
    scale_adaptive: Sequence[str] | None = None,
    ceil_mode: bool = True,
    grad_checkpointing: bool = False,
    **timm_arguments: Any,
) -> nn.Module:
    """timm network that returns feature maps of its stages: (B, 3, H, W) -> [(B, C, h, w), ...].

    `feature_info.channels()` gives their channels, `pretrained_cfg` the mean and standard deviation of the input.

    Args:
        model_name: any name that timm knows; `resnet101s` and `resnet50s` are the deep-stem networks of the paper.
        pretrained: load ImageNet weights through timm (downloaded once, then cached).
        weights: local file of such weights (`.pth` or `.safetensors`), instead of the download.
        levels: stages to return, counted from the last, in ascending order.
        output_stride: stride of the last stage: 8 (the paper), 16 or 32.
        dilate_first_block: dilate the first block of a dilated stage like the others (authors' code); timm gives it the
            dilation of the previous stage. ResNets only.
        block_dilations: dilations of the blocks of a stage, by its name (`layer3`, `layer4`), in place of one for all;
            a list that is too short begins again. ResNets only.
        scale_adaptive: stages whose 3x3 convolutions choose their dilation at every position (`scale_adaptive.py`).
            ResNets only.
        ceil_mode: round sizes up in the stem's max-pool (authors' code): 1024x2048 gives 129x257, not 128x256.
            ResNets only.
        grad_checkpointing: recompute activations in the backward pass: less memory, more time.
        timm_arguments: passed on to `timm.create_model`.

    Raises:
        ArgumentError: unknown name, impossible stride, missing stage, or weights that cannot be loaded.
    """
    try:
        backbone = timm_stages(
            model_name,
            pretrained=pretrained,
            weights=weights,
            levels=levels,
            output_stride=output_stride,
            **timm_arguments,
        )
    except (AssertionError, TypeError) as error:  # timm raises either for a stride that it cannot build
        raise ArgumentError(
            f"output_stride={output_stride}: timm cannot build {model_name} at this stride "
            f"({str(error) or 'use 8, 16 or 32'})"
        ) from error
    _require_stride(backbone, model_name, output_stride)
    _separate_activations(backbone)
    if dilate_first_block:
        _dilate_first_blocks(backbone, output_stride)
    for name, dilations in (block_dilations or {}).items():
        _dilate_blocks(_stage(backbone, name, f"block_dilations.{name}: {model_name}"), name, dilations)
    for name in scale_adaptive or ():
        _adapt_scales(_stage(backbone, name, f"scale_adaptive=[{name}]: {model_name}"))
    stem_pool = getattr(backbone, "maxpool", None)
    if ceil_mode and isinstance(stem_pool, nn.MaxPool2d):
        stem_pool.ceil_mode = True
    if grad_checkpointing:
        recompute_activations(backbone)
    return backbone


def timm_stages(
    model_name: str, *, pretrained: bool, weights: str | None, levels: Sequence[int], **timm_arguments: Any
) -> nn.Module:
    """timm network that returns its stages, with the weights that are asked for; arguments as for `create_backbone`.

    Raises:
        ArgumentError: unknown name, or weights that cannot be loaded.
    """
    if weights is not None:
        require_weights_file(weights)
    if not timm.is_model(model_name):
        near = difflib.get_close_matches(model_name, timm.list_models(), 3, 0.5) or ["resnet101s", "resnet50s"]
        raise ArgumentError(f"model_name={model_name}: timm has no such network; it has {', '.join(near)}, ...")
    _refuse_other_sources(timm_arguments)
    if weights is not None:
        timm_arguments["pretrained_cfg_overlay"] = {"file": weights}
    try:
        with _quiet_download():
            backbone: nn.Module = timm.create_model(
                model_name,
                pretrained=pretrained or weights is not None,
                features_only=True,
                out_indices=tuple(levels),
                **timm_arguments,
            )
    except (OSError, RuntimeError) as error:
        if not (pretrained or weights):
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ArgumentError(
            f"pretrained: ImageNet weights of {model_name} cannot be loaded ({reason}): connect once so that timm can "
            "cache them, or give a local file with weights=FILE, or train from scratch with pretrained=false"
        ) from error
    return backbone


def require_weights_file(weights: str) -> None:
    """Raise ArgumentError if there is no such file."""
    if not Path(weights).is_file():
        raise ArgumentError(f"weights={weights}: no such file; give a file of ImageNet weights or leave it null")


def recompute_activations(backbone: nn.Module) -> None:
    """Switch on gradient checkpointing, which leaves the running statistics as they are without it."""
    backbone.set_grad_checkpointing(True)  # type: ignore[operator]
    _count_statistics_once(backbone)


def map_size(backbone: nn.Module, crop_size: Sequence[int] | None) -> Size | None:
    """Size (h, w) of the last map on training crops, from shapes alone; None where images are not cropped."""
    if not crop_size:
        return None
    image = torch.empty(1, 3, *crop_size, device="meta")
    height, width = copy.deepcopy(backbone).to("meta").eval()(image)[-1].shape[2:]
    return height, width


def _refuse_other_sources(timm_arguments: Mapping[str, Any]) -> None:
    """Raise ArgumentError: an argument of `timm.create_model` that opens another file or address."""
    own = inspect.signature(timm.create_model).parameters
    named = [name for name, parameter in own.items() if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
    if given := sorted(timm_arguments.keys() & set(named)):
        raise ArgumentError(
            f"{given[0]}: not an argument of a backbone here; give local ImageNet weights with weights=FILE"
        )


@contextmanager
def _quiet_download() -> Iterator[None]:
    """Silence the hub's warnings about every retry: without a connection, one error line says what to do."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _count_statistics_once(backbone: nn.Module) -> None:
    """Freeze batch norm's running statistics in the forward pass that checkpointing repeats during backward.

    Otherwise they would move twice per step, and a network would be tested with other statistics than without
    checkpointing.
    """
    moving: dict[nn.Module, float | None] = {}

    def before(norm: nn.Module, _: object) -> None:
        if torch._C._current_graph_task_id() != -1:  # private: in a backward pass
            moving[norm], norm.momentum = norm.momentum, 0.0  # type: ignore[assignment]

    def after(norm: nn.Module, _: object, __: object) -> None:
        if norm in moving:
            norm.momentum = moving.pop(norm)  # type: ignore[assignment]
            norm.num_batches_tracked.sub_(1)  # type: ignore[operator]

    def first_forward(backbone: nn.Module, _: object) -> None:
        handle.remove()  # only now, because conversion to SyncBatchNorm replaces the modules
        for module in backbone.modules():
            if isinstance(module, _BatchNorm):
                module.register_forward_pre_hook(before)
                # Recomputation stops by an exception as soon as it has all it needs.
                module.register_forward_hook(after, always_call=True)

    handle = backbone.register_forward_pre_hook(first_forward)


def _require_stride(backbone: nn.Module, model_name: str, output_stride: int) -> None:
    stride = backbone.feature_info.reduction()[-1]  # type: ignore[operator, union-attr]
    if stride != output_stride:
        raise ArgumentError(
            f"output_stride={output_stride}: {model_name} has stride {stride}; set output_stride={stride}"
        )


def _separate_activations(backbone: nn.Module) -> None:
    """Replace timm's norms with activation by two modules, so that a conversion to `SyncBatchNorm` keeps the latter."""
    for name, part in [*backbone.named_modules()]:
        if isinstance(part, BatchNormAct2d):
            norm = nn.BatchNorm2d(part.num_features, part.eps, part.momentum)
            norm.load_state_dict(part.state_dict())
            backbone.set_submodule(name, nn.Sequential(OrderedDict(norm=norm, drop=part.drop, act=part.act)))


def _dilate_first_blocks(backbone: nn.Module, output_stride: int) -> None:
    """Set the dilation of every 3x3 convolution of a dilated ResNet stage to that of the stage: 2, then 4."""
    stages = {8: {"layer3": 2, "layer4": 4}, 16: {"layer4": 2}}.get(output_stride, {})
    for name, dilation in stages.items():
        _dilate(getattr(backbone, name, nn.Module()), dilation)


def _dilate_blocks(stage: nn.Sequential, name: str, dilations: Sequence[int]) -> None:
    """Give the blocks of a stage their dilations, from the first again where the list is too short."""
    if not dilations:
        raise ArgumentError(f"block_dilations.{name}=[]: expected at least one dilation")
    for index, block in enumerate(stage):
        _dilate(block, dilations[index % len(dilations)])


def _adapt_scales(stage: nn.Sequential) -> None:
    """Replace the 3x3 convolutions of a stage by scale-adaptive ones."""
    for block in stage:
        for place, conv in _convolutions(block):
            block.set_submodule(place, ScaleAdaptiveConv2d(conv))


def _dilate(part: nn.Module, dilation: int) -> None:
    for _, conv in _convolutions(part):
        conv.dilation = conv.padding = (dilation, dilation)


def _convolutions(part: nn.Module) -> list[tuple[str, nn.Conv2d]]:
    """3x3 convolutions of a network, with their names."""
    return [(n, m) for n, m in part.named_modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]


def _stage(backbone: nn.Module, name: str, subject: str) -> nn.Sequential:
    """Stage of a ResNet by its name.

    Raises:
        ArgumentError: the network has no such stage; the message begins with the subject.
    """
    stage = getattr(backbone, name, None)
    if not name.startswith("layer") or not isinstance(stage, nn.Sequential):
        raise ArgumentError(f"{subject} has no stage {name}; use a ResNet, whose stages are layer1 to layer4")
    return stage
