"""Config -> objects: the one door. Everything below receives built objects and plain numbers."""

import logging
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback

from ocnet_pl.arguments import ArgumentError
from ocnet_pl.config.compose import plain
from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.errors import UserError
from ocnet_pl.inference import AtTestSize, Protocol
from ocnet_pl.model.network import OCNet
from ocnet_pl.module import SegmentationModule
from ocnet_pl.randomness import derive_seed
from ocnet_pl.checkpoint import WholeCheckpoints


def _build(node: Any, **arguments: Any) -> Any:
    """Hydra's `instantiate`, letting our own errors out of its wrapping."""
    try:
        return instantiate(node, **arguments)
    except InstantiationException as error:
        place = node._get_full_key(None) if isinstance(node, DictConfig) else ""
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


def build_network(config: DictConfig, num_classes: int) -> OCNet:
    """The network with fresh weights, which depend on the seed only."""
    # Each part draws from a seed of its own: the same backbone starts under every head.
    torch.manual_seed(derive_seed(config.seed, "backbone"))
    backbone = _build(config.model.backbone)
    torch.manual_seed(derive_seed(config.seed, "head"))
    head = _build(config.model.head, in_channels=backbone.feature_info.channels()[-1])
    torch.manual_seed(derive_seed(config.seed, "classifier"))
    network: OCNet = _build(config.model, backbone=backbone, head=head, num_classes=num_classes, _recursive_=False)
    if config.channels_last:
        network = network.to(memory_format=torch.channels_last)
    if config.compile:
        # In place, so that the names of the weights stay.
        network.backbone.compile()
        network.head.compile()
    return network


def build_protocol(config: DictConfig, data: SegmentationDataModule) -> Protocol:
    """How the network is tested on an image: the protocol at the data set's test size, logits at the image's own."""
    return AtTestSize(_build(config.inference, mirror_pairs=data.mirror_pairs), data.test_size)


def build_module(config: DictConfig, data: SegmentationDataModule) -> SegmentationModule:
    """Network, losses, optimizer and test protocol in their LightningModule."""
    weighted = config.loss.class_weights and data.class_weights
    weight = torch.tensor(data.class_weights, dtype=torch.float32) if weighted else None
    network = build_network(config, len(data.classes))
    network.protocol = build_protocol(config, data)
    return SegmentationModule(
        network=network,
        loss=_build(config.loss.main, weight=weight),
        auxiliary_loss=_build(config.loss.auxiliary, weight=weight),
        auxiliary_weight=config.loss.auxiliary_weight,
        optimizer=_build(config.schedule.optimizer),
        lr_scheduler=_build(config.schedule.lr_scheduler),
        absent_classes=data.absent_classes,
        seed=config.seed,
    )


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
