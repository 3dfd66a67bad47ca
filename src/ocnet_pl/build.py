"""Config -> objects: the one door. Everything below receives built objects and plain numbers."""

import logging
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from pytorch_lightning.callbacks import Callback

from ocnet_pl.arguments import ArgumentError
from ocnet_pl.config import plain
from ocnet_pl.dataset.base import SegmentationDataModule
from ocnet_pl.errors import UserError
from ocnet_pl.inference import AtTestSize, Protocol
from ocnet_pl.model.ocnet import OCNet
from ocnet_pl.module import SegmentationModule
from ocnet_pl.randomness import derive_seed
from ocnet_pl.run.checkpoint import WholeCheckpoints, load_weights, read_checkpoint


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
    data: SegmentationDataModule = _build(config.dataset, batch_size=config.schedule.batch_size, seed=config.seed)
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
        inference=network.protocol,
        seed=config.seed,
    )


def build_trainer(config: DictConfig, callbacks: list[Callback], logger: Any, directory: Path) -> pl.Trainer:
    """The Trainer, counting in steps, with our samplers in place of Lightning's."""
    _quiet_lightning()
    trainer: pl.Trainer = _build(
        config.trainer,
        max_steps=config.schedule.max_steps,
        max_epochs=-1,
        # Lightning counts forward batches here, we count optimizer steps.
        val_check_interval=config.schedule.val_every * config.trainer.accumulate_grad_batches,
        check_val_every_n_epoch=None,
        log_every_n_steps=config.schedule.log_every,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_model_summary=False,
        callbacks=callbacks,
        plugins=[WholeCheckpoints()],
        logger=logger,
        default_root_dir=str(directory),
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


def load(checkpoint: str | Path, device: str = "cpu") -> OCNet:
    """The trained network of a checkpoint, in evaluation mode. Nothing in the file is executed.

    Args:
        checkpoint: a `.ckpt` written by `ocnet-train`.
        device: where to put it.

    Raises:
        UserError: no such file, or not such a checkpoint.
    """
    content = read_checkpoint(Path(checkpoint))
    config = OmegaConf.create(content["config"])
    return build_trained(config, content, Path(checkpoint), build_data(config)).to(device)


def build_trained(config: DictConfig, content: dict[str, Any], checkpoint: Path, data: SegmentationDataModule) -> OCNet:
    """The network of a checkpoint that was read, in evaluation mode, with the protocol it is tested by."""
    with open_dict(config):
        config.model.backbone.pretrained = False
        config.model.backbone.weights = None
        config.compile = False
    network = build_network(config, len(content["classes"]))
    network.protocol = build_protocol(config, data)
    load_weights(network, content, checkpoint)
    return network.eval()
