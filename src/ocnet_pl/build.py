"""Config -> objects: the composition root. Everything below receives built objects and plain numbers."""

import copy
import inspect
import logging
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, open_dict
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from ocnet_pl.arguments import ArgumentError
from ocnet_pl.checkpoint import WholeCheckpoints
from ocnet_pl.config.compose import plain
from ocnet_pl.config.targets import import_target
from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.errors import UserError
from ocnet_pl.inference import AtTestSize, Protocol
from ocnet_pl.model.network import AUXILIARY_LEVEL, Network, ends_in_logits, head_levels, reads_auxiliary
from ocnet_pl.module import SegmentationModule
from ocnet_pl.randomness import derive_seed
from ocnet_pl.resizing import Size

_HEAD_KEYS = ("label", "backbone_stride")
"""Keys of a head's YAML that are not arguments of its class."""


def _build(node: Any, **arguments: Any) -> Any:
    """Hydra's `instantiate`; errors about an argument name its place in the config."""
    place = node._get_full_key(None) if isinstance(node, DictConfig) else ""  # private: OmegaConf's name of a node
    if isinstance(node, DictConfig) and "_target_" in node:
        import_target(node, place)
    try:
        return instantiate(node, **arguments)
    except InstantiationException as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
            if isinstance(cause, ArgumentError):
                raise UserError(f"{place}.{cause}" if place else str(cause)) from None
            if isinstance(cause, UserError):
                raise cause from None
        raise UserError(f"{place or 'config'}: {cause}") from error


def build_data(config: DictConfig) -> SegmentationDataModule:
    """The data set; nothing is read from disk yet."""
    schedule = {"batch_size": config.schedule.batch_size} if "schedule" in config else {}
    data: SegmentationDataModule = _build(config.dataset, seed=config.seed, **schedule)
    return data


def build_network(config: DictConfig, num_classes: int, *, auxiliary: bool = True) -> Network:
    """The network with fresh weights, which depend on the seed only.

    Args:
        config: the config.
        num_classes: number of classes.
        auxiliary: build the auxiliary classifier; a head that reads it has it in any case.
    """
    head_class = import_target(config.model.head, "model.head")
    auxiliary = auxiliary or reads_auxiliary(head_class)
    levels = sorted({*head_levels(head_class), *([AUXILIARY_LEVEL] if auxiliary else [])})
    # Each part draws from a seed of its own: the same backbone starts under every head.
    torch.manual_seed(derive_seed(config.seed, "backbone"))
    backbone = _build(config.model.backbone, levels=levels)
    torch.manual_seed(derive_seed(config.seed, "head"))
    channels = dict(zip(levels, backbone.feature_info.channels(), strict=True))
    read = tuple(channels[level] for level in head_levels(head_class))
    head = build_head(
        config.model.head,
        in_channels=read[0] if len(read) == 1 else read,
        num_classes=num_classes,
        map_size=_map_size(backbone, config.dataset.get("crop_size")) if "map_size" in _named(head_class) else None,
    )
    torch.manual_seed(derive_seed(config.seed, "classifier"))
    network: Network = _build(
        config.model,
        backbone=backbone,
        head=head,
        num_classes=num_classes,
        levels=levels,
        auxiliary=auxiliary,
        _recursive_=False,
    )
    if config.channels_last:
        network = network.to(memory_format=torch.channels_last)
    if config.compile:
        network.compile_parts()
    return network


def build_head(node: DictConfig, **facts: Any) -> nn.Module:
    """A head, with those of the network's facts that its signature names.

    Args:
        node: config of the head.
        facts: `in_channels`, `num_classes` and `map_size`.
    """
    named = _named(import_target(node, "model.head"))
    own = node.copy()
    with open_dict(own):
        for key in _HEAD_KEYS:
            own.pop(key, None)
    own._set_parent(node._get_parent())  # errors name the place in the whole config
    head: nn.Module = _build(own, **{name: fact for name, fact in facts.items() if name in named})
    if not ends_in_logits(head) and not hasattr(head, "out_channels"):
        raise UserError(
            f"model.head: {node._target_} has no out_channels; set it in its constructor to the channels of its output"
        )
    return head


def _named(head_class: type) -> Collection[str]:
    """Names of the arguments of a class."""
    try:
        return inspect.signature(head_class).parameters
    except ValueError:  # a class written in C
        return ()


def _map_size(backbone: nn.Module, crop_size: Sequence[int] | None) -> Size | None:
    """(h, w) of the last map on training crops, computed on shapes alone."""
    if not crop_size:
        return None
    image = torch.empty(1, 3, *crop_size, device="meta")
    height, width = copy.deepcopy(backbone).to("meta").eval()(image)[-1].shape[2:]
    return height, width


def build_protocol(config: DictConfig, data: SegmentationDataModule) -> Protocol:
    """How the network is tested on an image: the protocol at the data set's test size, logits at the image's own."""
    return AtTestSize(_build(config.inference, mirror_pairs=data.mirror_pairs), data.test_size)


def build_module(config: DictConfig, data: SegmentationDataModule) -> SegmentationModule:
    """Network, losses, optimizer and test protocol in their LightningModule."""
    weighted = config.loss.class_weights and data.class_weights
    weight = torch.tensor(data.class_weights, dtype=torch.float32) if weighted else None
    return build_bare_module(
        config,
        len(data.classes),
        weight=weight,
        protocol=build_protocol(config, data),
        absent_classes=data.absent_classes,
    )


def build_bare_module(
    config: DictConfig, num_classes: int, *, weight: Tensor | None = None, **about_data: Any
) -> SegmentationModule:
    """The same without a data set.

    Args:
        config: the config.
        num_classes: number of classes.
        weight: weights of the classes in the losses, (K,).
        about_data: arguments of `SegmentationModule` that depend on the data set.
    """
    return SegmentationModule(
        network=build_network(config, num_classes, auxiliary=bool(config.loss.auxiliary_weight)),
        optimizer=_build(config.schedule.optimizer),
        lr_scheduler=_build(config.schedule.lr_scheduler),
        auxiliary_weight=config.loss.auxiliary_weight,
        head_lr_factor=config.schedule.head_lr_factor,
        seed=config.seed,
        **_build_losses(config, num_classes, weight),
        **about_data,
    )


def _build_losses(config: DictConfig, num_classes: int, weight: Tensor | None) -> dict[str, Any]:
    """The losses as `SegmentationModule` takes them, each with those of the known facts that its signature names."""
    known = {"weight": weight, "num_classes": num_classes}
    torch.manual_seed(derive_seed(config.seed, "losses"))

    def build(node: DictConfig) -> nn.Module:
        named = inspect.signature(import_target(node, "loss")).parameters
        loss: nn.Module = _build(node, **{name: fact for name, fact in known.items() if name in named})
        return loss

    return {
        "loss": build(config.loss.main),
        "auxiliary_loss": build(config.loss.auxiliary),
        "additional_losses": {name: build(node) for name, node in config.loss.additional.items()},
    }


def build_trainer(config: DictConfig, callbacks: list[Callback], logger: Any, directory: Path) -> pl.Trainer:
    """The Trainer of a training, counting in steps."""
    return _trainer(
        config,
        directory,
        max_steps=config.schedule.max_steps,
        max_epochs=-1,
        # Lightning counts forward batches here, we count optimizer steps.
        val_check_interval=config.schedule.val_every * config.trainer.accumulate_grad_batches,
        check_val_every_n_epoch=None,
        log_every_n_steps=config.schedule.log_every,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        plugins=[WholeCheckpoints()],
        logger=logger,
    )


def build_tester(config: DictConfig, directory: Path) -> pl.Trainer:
    """The Trainer of a test alone."""
    return _trainer(config, directory, logger=False)


def _trainer(config: DictConfig, directory: Path, **arguments: Any) -> pl.Trainer:
    """A Trainer with our samplers in place of Lightning's."""
    _quiet_lightning()
    trainer: pl.Trainer = _build(
        config.trainer,
        use_distributed_sampler=False,
        enable_model_summary=False,
        default_root_dir=str(directory),
        **arguments,
    )
    return trainer


def _quiet_lightning() -> None:
    """Leaves its warnings to us, not its advertisements and not a deprecation within its own code."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    # Our loaders are addressed by step, which Lightning cannot see; and a run's folder of checkpoints is its own.
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty.*")
    # Scores are of counts that are summed over all processes before.
    warnings.filterwarnings("ignore", message=r"It is recommended to use .*sync_dist=True.* on epoch level.*")


def build_loggers(config: DictConfig, directory: Path) -> list[Any]:
    """The loggers beside the run's own CSV files, each a context manager round the run in `directory`."""
    loggers = [_build(node, save_dir=str(directory)) for node in (config.logger or {}).values()]
    for logger in loggers:
        logger.log_hyperparams(plain(config))
    return loggers
