"""Convert checkpoints of the OCNet authors: a whole network with the same predictions, or an ImageNet backbone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ocnet_pl.atomic import whole_file
from ocnet_pl.build import build_data, build_module
from ocnet_pl.checkpoint import sealed_header
from ocnet_pl.config.compose import compose_with_choices, plain
from ocnet_pl.config.search_path import options
from ocnet_pl.config.validate import validate
from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.errors import UserError
from ocnet_pl.model.backbone import create_backbone
from ocnet_pl.tools.convert import naming

DEFAULT_DATASET = "cityscapes"


@dataclass(frozen=True)
class Conversion:
    """Summary of a conversion.

    Attributes:
        network: head and backbone, or only the backbone.
        tensors: number of tensors taken from the file.
        classes: number of classes and the data set that names them; None for a backbone.
    """

    network: str
    tensors: int
    classes: str | None = None


def convert_network(
    source: Path,
    target: Path,
    head: str,
    *,
    input_name: str = "bgr",
    dataset: str | None = None,
    overrides: Sequence[str] = (),
) -> Conversion:
    """Write a whole network of the authors as a checkpoint with its config.

    Args:
        source: file of the authors' code.
        target: `.ckpt` to write, which must not exist.
        head: key of `naming.LAYOUTS`.
        input_name: normalisation that the network was trained with, key of `naming.INPUTS`.
        dataset: option of the config group; None: Cityscapes, for 19 classes.
        overrides: settings that the file does not contain, e.g. `model.head.downsample=2`.

    Raises:
        UserError: another network in the file, or a target that cannot be written.
    """
    _require_free(target)
    weights = _read(source)
    layout = naming.find_layout(head, weights)
    backbone = naming.backbone_model(weights)
    settings = [
        f"model/head={head}",
        f"model/backbone={backbone}",
        f"dataset={dataset or DEFAULT_DATASET}",
        "model.backbone.pretrained=false",
        *naming.INPUTS[input_name].overrides,
        *layout.overrides,
        *overrides,
    ]
    config, choices = compose_with_choices(*settings)
    validate(config, settings)
    data = build_data(config)
    module = build_module(config, data)
    _require_classes(source, weights, data, dataset)
    own = module.network.state_dict()
    found = _translated(source, f"--head {head}", weights, own, layout.name, inplace_abn=True)
    module.network.load_state_dict(own | found)
    content = {
        **sealed_header(plain(config), choices, data.classes),
        "converted": {"file": source.name, "input": input_name},
        "state_dict": module.state_dict(),
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": version("pytorch-lightning"),
    }
    _write(content, target)
    return Conversion(f"{head} on {backbone}", len(found), f"{len(data.classes)} ({choices['dataset']})")


def convert_backbone(source: Path, target: Path) -> Conversion:
    """Write the authors' ImageNet network under timm's names, without its classifier, for `model.backbone.weights`.

    Its norms are ordinary batch norms.

    Raises:
        UserError: another network in the file, or a target that cannot be written.
    """
    _require_free(target)
    weights = naming.without_imagenet_classifier(_read(source))
    backbone = naming.backbone_model(weights)
    own = create_backbone(backbone).state_dict()
    found = _translated(source, "--backbone", weights, own, naming.backbone_name, inplace_abn=False)
    _write(own | found, target)
    return Conversion(backbone, len(found))


def _translated(
    source: Path,
    option: str,
    weights: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    rename: Callable[[str], str],
    *,
    inplace_abn: bool,
) -> dict[str, Tensor]:
    """The file's tensors under our names; raises `UserError` if names or shapes are not those of our network."""
    names = {key: rename(key) for key in own if not key.endswith(naming.COUNTER)}
    if wrong := naming.differences(weights, {theirs: own[ours] for ours, theirs in names.items()}):
        better = naming.recognise(weights)
        hint = f"; its names fit {better}" if better not in (None, option) else ""
        backbone = naming.backbone_model(weights)
        raise UserError(f"{source}: is not a network for {option} ({backbone}): {wrong}{hint}")
    return naming.translate(weights, names, inplace_abn=inplace_abn)


def _require_free(target: Path) -> None:
    if target.exists():
        raise UserError(f"{target}: already exists; choose another name or delete it")
    if not target.parent.is_dir():
        raise UserError(f"{target}: the folder {target.parent} does not exist; create it first")


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, each once; nothing in the file is executed."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader fails on other files in a dozen ways
        raise UserError(
            f"{path}: not a checkpoint, damaged, or contains more than weights; nothing was loaded"
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise UserError(f"{path}: contains no named weights; expected a state_dict, bare or under 'state_dict'")
    try:
        return naming.single_names(content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _require_classes(
    source: Path, weights: Mapping[str, Tensor], data: SegmentationDataModule, dataset: str | None
) -> None:
    classifier = weights.get(naming.CLASSIFIER)
    if classifier is None or len(classifier) == len(data.classes):  # a missing one is reported with the other names
        return
    count = len(classifier)
    if dataset is None:
        names = ", ".join(options("dataset"))
        raise UserError(f"{source}: has {count} classes; choose their data set: --dataset NAME with one of {names}")
    raise UserError(f"{source}: has {count} classes, but --dataset {dataset} has {len(data.classes)}")


def _write(content: dict[str, Any], target: Path) -> None:
    try:
        with whole_file(target) as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{target}: cannot be written ({error}); choose another file") from error
