"""Lightning Trainers and loggers of a run."""

import logging
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback

from ocnet_pl.checkpoint import WholeCheckpoints
from ocnet_pl.config.compose import plain
from ocnet_pl.config.construct import construct


def build_trainer(config: DictConfig, callbacks: list[Callback], logger: Any, directory: Path) -> pl.Trainer:
    """Trainer of a training, which counts optimizer steps."""
    return _trainer(
        config,
        directory,
        max_steps=config.schedule.max_steps,
        max_epochs=-1,
        # Lightning counts forward batches here, the schedule counts optimizer steps.
        val_check_interval=config.schedule.val_every * config.trainer.accumulate_grad_batches,
        check_val_every_n_epoch=None,
        log_every_n_steps=config.schedule.log_every,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        plugins=[WholeCheckpoints()],
        logger=logger,
    )


def build_tester(config: DictConfig, directory: Path) -> pl.Trainer:
    """Trainer of a test alone."""
    return _trainer(config, directory, logger=False)


def build_loggers(config: DictConfig, directory: Path) -> list[Any]:
    """Loggers beside the run's own CSV files, each a context manager around the run in `directory`."""
    loggers = [construct(node, save_dir=str(directory)) for node in (config.logger or {}).values()]
    for logger in loggers:
        logger.log_hyperparams(plain(config))
    return loggers


def _trainer(config: DictConfig, directory: Path, **arguments: Any) -> pl.Trainer:
    """Trainer that keeps the project's own samplers."""
    _silence_lightning()
    trainer: pl.Trainer = construct(
        config.trainer,
        use_distributed_sampler=False,
        enable_model_summary=False,
        default_root_dir=str(directory),
        **arguments,
    )
    return trainer


def _silence_lightning() -> None:
    """Silence Lightning's tips, and warnings that do not apply here."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    # The loaders are addressed by step, which Lightning cannot see; a run's folder of checkpoints is its own.
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty.*")
    # Scores are computed from counts that are already summed over all processes.
    warnings.filterwarnings("ignore", message=r"It is recommended to use .*sync_dist=True.* on epoch level.*")
