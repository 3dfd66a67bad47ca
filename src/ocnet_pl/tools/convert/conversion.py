"""The OCNet authors' checkpoints as ours: a whole network that predicts the same, or a backbone to start from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
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
    """What was read and written.

    Attributes:
        network: head and backbone, or the backbone.
        tensors: how many were taken from the file.
        classes: of a whole network, with the data set that names them.
    """

    network: str
    tensors: int
    classes: str | None = None


def convert_network(
    source: Path,
    target: Path,
    head: str,
    *,
    fed: str = "bgr",
    dataset: str | None = None,
    overrides: Sequence[str] = (),
) -> Conversion:
    """Writes a whole network of the authors as a checkpoint of ours, with its config.

    Args:
        source: their file.
        target: our `.ckpt`, which must not exist.
        head: a name of `naming.LAYOUTS`.
        fed: what it was trained on, a name of `naming.INPUTS`.
        dataset: option of the config group; None: Cityscapes, for 19 classes.
        overrides: more of them, for what the file does not tell: `model.head.downsample=2`.

    Raises:
        UserError: not such a network, or nowhere to write.
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
        *naming.INPUTS[fed].overrides,
        *layout.overrides,
        *overrides,
    ]
    config, choices = compose_with_choices(*settings)
    validate(config, settings)
    data = build_data(config)
    module = build_module(config, data)
    own = module.network.state_dict()
    names = {key: layout.name(key) for key in own if not key.endswith(naming.COUNTER)}
    expected = {theirs: own[ours] for ours, theirs in names.items()}
    asked = f"--head {head}"
    _refuse(source, asked, backbone, naming.strangers(weights, expected), weights)
    _require_classes(source, len(weights["cls.weight"]), data, dataset)
    _refuse(source, asked, backbone, naming.misshapen(weights, expected), weights)
    module.network.load_state_dict({**own, **naming.translate(weights, names, inplace_abn=True)})
    _write(_checkpoint(module, config, choices, data, {"file": source.name, "input": fed}), target)
    return Conversion(f"{head} on {backbone}", len(names), f"{len(data.classes)} ({choices['dataset']})")


def convert_backbone(source: Path, target: Path) -> Conversion:
    """Writes the ImageNet network that the authors start from under timm's names, without its classifier.

    Its norms are ordinary ones. The file serves as `model.backbone.weights=FILE`.

    Raises:
        UserError: not such a network, or nowhere to write.
    """
    _require_free(target)
    given = _read(source)
    weights = naming.without_imagenet_classifier(given)
    model_name = naming.backbone_model(weights)
    own = create_backbone(model_name).state_dict()
    names = {key: naming.backbone_name(key) for key in own if not key.endswith(naming.COUNTER)}
    expected = {theirs: own[ours] for ours, theirs in names.items()}
    for wrong in (naming.strangers, naming.misshapen):
        _refuse(source, "--backbone", model_name, wrong(weights, expected), given)
    _write({**own, **naming.translate(weights, names, inplace_abn=False)}, target)
    return Conversion(model_name, len(names))


def _require_free(target: Path) -> None:
    if target.exists():
        raise UserError(f"{target}: exists already; give another name or delete it")
    if not target.parent.is_dir():
        raise UserError(f"{target}: there is no folder {target.parent}; make it first")


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, each once. Nothing in the file is executed.

    Raises:
        UserError: no such file, or no weights in it.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file of another kind breaks the reader in any of a dozen ways
        raise UserError(f"{path}: not a checkpoint, damaged, or more than weights in it; nothing was loaded") from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise UserError(f"{path}: holds no weights by name; a state_dict is expected, bare or under 'state_dict'")
    try:
        return naming.single_names(content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _refuse(source: Path, asked: str, backbone: str, wrong: str, weights: Mapping[str, Tensor]) -> None:
    if wrong:
        way = naming.recognise(weights)
        hint = f"; by its names it is one for {way}" if way not in (None, asked) else ""
        raise UserError(f"{source}: is no network for {asked} ({backbone}): {wrong}{hint}")


def _require_classes(source: Path, count: int, data: SegmentationDataModule, dataset: str | None) -> None:
    if count == len(data.classes):
        return
    if dataset is None:
        raise UserError(
            f"{source}: has {count} classes; say of which data set, --dataset NAME with one of "
            f"{', '.join(options('dataset'))}"
        )
    raise UserError(f"{source}: has {count} classes, but --dataset {dataset} has {len(data.classes)}")


def _checkpoint(
    module: pl.LightningModule,
    config: DictConfig,
    choices: dict[str, str],
    data: SegmentationDataModule,
    origin: dict[str, str],
) -> dict[str, Any]:
    """What `checkpoint.CheckpointConfig` and Lightning write, at step 0, and where it comes from."""
    return {
        **sealed_header(plain(config), choices, data.classes),
        "converted": origin,
        "state_dict": module.state_dict(),
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": version("pytorch-lightning"),
    }


def _write(content: dict[str, Any], target: Path) -> None:
    try:
        with whole_file(target) as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{target}: cannot be written ({error})") from error
