"""Lightning Trainers and loggers of a run."""

import logging
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback, WeightAveraging

from ocnet_pl.checkpoint import WholeCheckpoints
from ocnet_pl.config.compose import plain
from ocnet_pl.config.construct import construct, construct_with
from ocnet_pl.errors import UserError
from ocnet_pl.run.rehearsal import trainer_limits


def build_trainer(config: DictConfig, callbacks: list[Callback], logger: Any, directory: Path) -> pl.Trainer:
    """Trainer of a training, which counts optimizer steps."""
    lengths = {
        "max_steps": config.schedule.max_steps,
        # Lightning counts forward batches here, the schedule counts optimizer steps.
        "val_check_interval": config.schedule.val_every * config.trainer.accumulate_grad_batches,
        "log_every_n_steps": config.schedule.log_every,
    }
    return _trainer(
        config,
        directory,
        **(lengths | (trainer_limits(config) if config.rehearsal else {})),
        max_epochs=-1,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        plugins=[WholeCheckpoints()],
        logger=logger,
    )


def build_tester(config: DictConfig, directory: Path) -> pl.Trainer:
    """Trainer of a test alone."""
    return _trainer(config, directory, logger=False)


def build_loggers(config: DictConfig, directory: Path) -> list[Any]:
    """Loggers beside the run's own CSV files, each in a context manager around the run in `directory`."""
    loggers = [construct_with(node, save_dir=str(directory)) for node in (config.logger or {}).values()]
    for logger in loggers:
        logger.log_hyperparams(plain(config))
    return [logger if hasattr(logger, "__enter__") else nullcontext(logger) for logger in loggers]


MONITORED = ("val/miou", "val/pixel_accuracy")
"""Scores of a validation, which callbacks may monitor; besides them, the losses `train/...`."""


def build_callbacks(config: DictConfig) -> list[Callback]:
    """Callbacks of the config, in its order.

    Raises:
        UserError: not a callback, one that monitors an unknown score, or an average that would change constants.
    """
    callbacks = []
    for name, node in (config.get("callbacks") or {}).items():
        place = f"callbacks.{name}"
        callback = construct(node) if isinstance(node, DictConfig) and "_target_" in node else node
        if not isinstance(callback, Callback):
            raise UserError(f"{place}: not a callback of Lightning; give the class as {place}._target_=CLASS")
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str) and monitor not in MONITORED and not monitor.startswith("train/"):
            raise UserError(f"{place}.monitor={monitor}: no such score; use one of {', '.join(MONITORED)}")
        if isinstance(callback, WeightAveraging) and callback._use_buffers:  # private: its only trace
            raise UserError(
                f"{place}.use_buffers=true: would also average constants of the network, such as the mean of its "
                f"input; set {place}.use_buffers=false"
            )
        callbacks.append(callback)
    return callbacks


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
